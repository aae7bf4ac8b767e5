"""`balance dead-letters`: commands that a fault has parked; see them, replay them, resolve them."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import Progress

from app.cli.ops_service import Deed, OpsService, deed_options, ops_options, table

PAGE = 200
CHUNK = 100
_GOOD = frozenset({"APPLIED", "ALREADY_APPLIED", "REISSUED", "RESOLVED", "CLOSED"})

Command = TypeVar("Command", bound=Callable[..., Any])
Wish = dict[str, str | None]


@click.group(name="dead-letters")
def dead_letters() -> None:
    """Look after commands that a fault has parked."""


def _filters(command: Command) -> Command:
    for option in (
        click.option("--until", metavar="TIME", help="Parked until then, like 2026-01-31T12:00:00Z."),
        click.option("--since", metavar="TIME", help="Parked since then."),
        click.option("--error", metavar="TEXT", help="With this in their error."),
        click.option("--table", metavar="ID", help="Of this table."),
        click.option("--account", metavar="ID", help="Of this account."),
        click.option("--kind", metavar="KIND", help="Of this kind, like Deposit."),
    ):
        command = option(command)
    return command


def _wish(**given: str | None) -> Wish:
    names = {"account": "accountId", "table": "tableId", "since": "from", "until": "to"}
    return {names.get(name, name): value for name, value in given.items() if value}


@dead_letters.command(name="list")
@_filters
@click.option("--limit", type=click.IntRange(1, PAGE), default=20, show_default=True)
@click.option("--after", metavar="ID", help="Those behind this one.")
@ops_options
def list_(limit: int, after: str | None, *, service: OpsService, **wish: str | None) -> None:
    """List parked commands in the order in which they came, and what went wrong with how many."""
    found = service.get("dead-letters", limit=limit, after=after, **_wish(**wish))
    service.show(found, _told(found))


def _told(found: dict[str, Any]) -> str:
    if not found["total"]:
        return "No dead letters."
    causes = [("COUNT", "CHIPS", "KIND", "ERROR")]
    causes += [
        (str(each["count"]), str(each["chips"]), each["kind"] or "-", each["error"])
        for each in found["causes"]
    ]
    rows = [("DEAD LETTER", "KIND", "ABOUT", "AMOUNT", "PARKED AT", "REPLAYS")]
    for each in found["deadLetters"]:
        about = each["accountId"] or each["tableId"] or each["reservationId"] or "-"
        replays = f"{len(each['replays'])}{' (waiting)' if each['replaying'] else ''}"
        amount = str(each["amount"] or "-")
        rows.append((each["deadLetterId"], each["kind"] or "-", about, amount, each["parkedAt"], replays))
    more = f"\n... and more, from --after {found['next']}" if found["next"] else ""
    head = f"{found['total']} dead letters, {found['chips']} chips at stake"
    return f"{head}\n\n{table(causes)}\n\n{table(rows)}{more}"


@dead_letters.command(name="show")
@click.argument("dead_letter_id", metavar="ID")
@ops_options
def show_(dead_letter_id: str, *, service: OpsService) -> None:
    """Show one, parked or closed, with its envelope and its replays. Exit code 1 when there is none."""
    found = service.get("dead-letters", dead_letter_id)
    lines = [(name, str(value)) for name, value in found.items() if name != "replays" and value != ""]
    lines += [(f"replay {each['number']}", _replay_told(each)) for each in found["replays"]]
    service.show(found, table(lines))


def _replay_told(replay: dict[str, Any]) -> str:
    ended = replay.get("outcome") or "waits"
    error = f" ({replay['error']})" if replay.get("error") else ""
    return f"{replay['at']} by {replay['by']}, {replay['reason']}: {ended}{error}"


@dead_letters.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="All that match the filters.")
@_filters
@click.option("--rate", type=click.IntRange(1, 10_000), help="At most so many a second.")
@click.option("--force", is_flag=True, help="Also what waits already, or whose kind is stopped.")
@click.option(
    "--reissue", is_flag=True, help="Issue anew those whose key was lost, under a key of their own."
)
@deed_options
def replay(  # each is an option
    ids: tuple[str, ...],
    *,
    every: bool,
    rate: int | None,
    force: bool,
    reissue: bool,
    service: OpsService,
    deed: Deed,
    **wish: str | None,
) -> None:
    """Replay parked commands under their own keys: what had been applied is not applied again.

    Exit code 1 when one of them is neither applied nor closed.
    """
    body = deed | {"force": force, "reissue": reissue}
    chosen = _chosen(service, ids, every=every, wish=_wish(**wish))
    _treat(service, "replay", chosen, body, rate=rate)


@dead_letters.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="All that match the filters.")
@_filters
@deed_options
def resolve(
    ids: tuple[str, ...], *, every: bool, service: OpsService, deed: Deed, **wish: str | None
) -> None:
    """Close parked commands without carrying them out. Their keys stay taken."""
    chosen = _chosen(service, ids, every=every, wish=_wish(**wish))
    _treat(service, "resolve", chosen, deed)


def _chosen(service: OpsService, ids: tuple[str, ...], *, every: bool, wish: Wish) -> list[str]:
    """The letters that are named, or all that match: all of them are found before the first is touched."""
    if bool(ids) == every:
        raise click.UsageError("name dead letters, or give --all, with filters if you like")
    if wish and not every:
        raise click.UsageError("filters choose among --all")
    return list(ids) if ids else [each["deadLetterId"] for each in _matching(service, wish)]


def _matching(service: OpsService, wish: Wish) -> Iterator[dict[str, Any]]:
    after = ""
    while True:
        page = service.get("dead-letters", limit=PAGE, after=after, **wish)
        yield from page["deadLetters"]
        after = page["next"]
        if not after:
            return


def _treat(service: OpsService, what: str, ids: list[str], body: Deed, *, rate: int | None = None) -> None:
    """Have them treated, chunk after chunk, and tell what became of each."""
    size = min(CHUNK, rate or CHUNK)
    results: list[dict[str, str]] = []
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=len(ids))
        for first in range(0, len(ids), size):
            began = time.monotonic()
            chunk = ids[first : first + size]
            results += service.post("dead-letters", what, body=body | {"ids": chunk})["results"]
            bar.advance(task, len(chunk))
            if rate and first + size < len(ids):
                time.sleep(max(began + len(chunk) / rate - time.monotonic(), 0))
    counts = dict(sorted(Counter(each["result"] for each in results).items()))
    rows = [("DEAD LETTER", "RESULT", "OUTCOME", "DETAIL")]
    rows += [
        (each["deadLetterId"], each["result"], each["outcome"] or "-", each["detail"] or "-")
        for each in results
    ]
    would = "would be " if body["dryRun"] else ""
    summary = ", ".join(f"{count} {would}{result}" for result, count in counts.items()) or "nothing to do"
    answer = {"results": results, "counts": counts, "dryRun": body["dryRun"]}
    service.show(answer, f"{table(rows)}\n\n{summary}" if results else summary)
    sys.exit(0 if counts.keys() <= _GOOD else 1)
