"""Draws the dashboard's rows as one SVG, from a running Prometheus, with the dashboard's own queries.

python -m ops.grafana.picture http://127.0.0.1:9090 MINUTES FILE
"""

import json
import re
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from html import escape
from math import isfinite
from pathlib import Path
from typing import NamedTuple

from ops.grafana.rows import CHIPS, ROWS, SECONDS, SHARE, Panel, Row

ACROSS, WIDTH, HEIGHT, GAP, STAT_HEIGHT, HEAD = 4, 320, 190, 12, 78, 34
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 30, 44
COLOURS = ("#3274d9", "#e0752d", "#56a64b", "#8f3bb8", "#c4162a", "#0b7a75", "#b8860b", "#7f7f7f")
POINTS, SERIES, LONGEST_NAME = 120, 8, 14
STYLE = (
    "text{font:11px sans-serif;fill:#333}.t{font-weight:bold}.h{font-size:17px}"
    ".n{font-size:26px}.s{fill:#fff}"
)


class Line(NamedTuple):
    """One series: its name, and (time, value) pairs in seconds."""

    name: str
    points: list[tuple[float, float]]


class Prometheus:
    """Where the numbers come from, and of which time."""

    def __init__(self, url: str, minutes: float) -> None:
        self.end = time.time()
        self.start = self.end - minutes * 60
        self._step = max((self.end - self.start) / POINTS, 1)
        self._url = url.rstrip("/")

    def lines(self, panel: Panel) -> list[Line]:
        """All series of a panel, those that are never 0 first, the largest last values before others."""
        found = [line for query in panel.queries for line in self._query(query.expr, query.legend)]
        found.sort(key=lambda line: -max(value for _, value in line.points))
        return found[:SERIES]

    def _query(self, expr: str, legend: str) -> Iterator[Line]:
        expr = expr.replace("$__rate_interval", f"{max(int(self._step * 4), 20)}s")
        asked = {"query": expr, "start": self.start, "end": self.end, "step": self._step}
        url = f"{self._url}/api/v1/query_range?{urllib.parse.urlencode(asked)}"
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - the address is the user's own
            result = json.load(answer)["data"]["result"]
        for series in result:
            points = [(float(at), float(value)) for at, value in series["values"] if isfinite(float(value))]
            if points:
                yield Line(_named(legend, series["metric"]), points)


def _named(legend: str, labels: dict[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), legend)


def shown(value: float, unit: str) -> str:
    """A number as a dashboard shows it."""
    if unit == SECONDS:
        return f"{value * 1000:.3g} ms" if abs(value) < 1 else f"{value:.3g} s"
    if unit == SHARE:
        return f"{value:.2%}"
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**4, "k")):
        if abs(value) >= size:
            return f"{value / (size if letter != 'k' else 1000):.3g}{letter}"
    return f"{value:,.0f}" if unit == CHIPS and abs(value) > 1 else f"{value:.3g}"


def draw(source: Prometheus) -> str:
    """The whole picture."""
    parts: list[str] = []
    top = GAP
    for row in ROWS:
        parts.append(f'<text class="h" x="{GAP}" y="{top + 20}">{escape(row.title)}</text>')
        top += HEAD
        height, across = _shape(row)
        width = ACROSS * (WIDTH + GAP) / across - GAP
        for index, panel in enumerate(row.panels):
            down, right = divmod(index, across)
            x, y = GAP + right * (width + GAP), top + down * (height + GAP)
            drawn = _stat if panel.kind == "stat" else _graph
            inside = "".join(drawn(panel, source, width))
            parts.append(f'<g transform="translate({x:.0f},{y})">{inside}</g>')
        top += (height + GAP) * -(-len(row.panels) // across)
    size = f'width="{ACROSS * (WIDTH + GAP) + GAP}" height="{top}"'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{STYLE}</style>'
    return f'{svg}<rect width="100%" height="100%" fill="#f4f5f5"/>{"".join(parts)}</svg>\n'


def _shape(row: Row) -> tuple[int, int]:
    return (STAT_HEIGHT, len(row.panels)) if row.panels[0].kind == "stat" else (HEIGHT, ACROSS)


def _stat(panel: Panel, source: Prometheus, width: float) -> Iterator[str]:
    lines = source.lines(panel)
    value = lines[0].points[-1][1] if lines else None
    colour = "#56a64b" if value == panel.good else "#c4162a"
    yield f'<rect width="{width:.0f}" height="{STAT_HEIGHT}" rx="3" fill="{colour}"/>'
    yield f'<text class="t s" x="8" y="18">{escape(panel.title)}</text>'
    text = "no data" if value is None else shown(value, panel.unit)
    yield f'<text class="n s" x="{width / 2:.0f}" y="54" text-anchor="middle">{text}</text>'


def _graph(panel: Panel, source: Prometheus, width: float) -> Iterator[str]:
    yield f'<rect width="{width:.0f}" height="{HEIGHT}" rx="3" fill="#fff" stroke="#d8d9da"/>'
    yield f'<text class="t" x="8" y="18">{escape(panel.title)}</text>'
    lines = source.lines(panel)
    if not lines:
        yield f'<text x="{width / 2:.0f}" y="{HEIGHT / 2}" text-anchor="middle">none</text>'
        return
    values = [value for line in lines for _, value in line.points]
    low, high = min(0.0, *values), max(0.0, *values)
    if low == high:
        high = 1.0
    wide, tall = width - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    for part in range(3):
        y, value = TOP + tall * (1 - part / 2), low + (high - low) * part / 2
        yield f'<path d="M{LEFT} {y:.1f}h{wide:.0f}" stroke="#e5e6e7"/>'
        yield f'<text x="{LEFT - 4}" y="{y + 4:.1f}" text-anchor="end">{shown(value, panel.unit)}</text>'
    across = 8.0
    for number, line in enumerate(lines):
        colour = COLOURS[number]
        places = " ".join(
            f"{LEFT + wide * (at - source.start) / (source.end - source.start):.1f},"
            f"{TOP + tall * (high - value) / (high - low):.1f}"
            for at, value in line.points
        )
        yield f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        down = HEIGHT - 24 + 14 * (number >= SERIES // 2)
        across = 8.0 if number == SERIES // 2 else across
        yield f'<rect x="{across:.0f}" y="{down - 7}" width="8" height="8" fill="{colour}"/>'
        name = line.name if len(line.name) <= LONGEST_NAME else f"{line.name[: LONGEST_NAME - 1]}…"
        yield f'<text x="{across + 11:.0f}" y="{down}">{escape(name)}</text>'
        across += 18 + (7.5 if name.isupper() else 6) * len(name)


def main(arguments: list[str]) -> None:
    """Draw the last minutes."""
    url, minutes, file = arguments
    Path(file).write_text(draw(Prometheus(url, float(minutes))), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
