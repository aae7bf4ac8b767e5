"""The metrics page as Prometheus reads it."""

import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

SCRAPE_SECONDS = 10  # as long as Prometheus waits


@dataclass(frozen=True)
class Page:
    """One scrape: samples by their name and labels."""

    text: str
    samples: Mapping[tuple[str, frozenset[tuple[str, str]]], float]

    @classmethod
    def read(cls, address: str) -> Self:
        """What the page at HOST:PORT says now."""
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=SCRAPE_SECONDS) as answer:
            return cls.of(answer.read().decode())

    @classmethod
    def of(cls, text: str) -> Self:
        samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        return cls(text, samples)

    @property
    def names(self) -> set[str]:
        """The names of all samples."""
        return {name for name, _ in self.samples}

    def value(self, name: str, **labels: str) -> float:
        """One sample; KeyError where there is none."""
        return self.samples[name, frozenset(labels.items())]

    def sum(self, name: str, **labels: str) -> float:
        """The sum of all samples that have these labels, others not looked at."""
        wanted = set(labels.items())
        return sum(value for (each, has), value in self.samples.items() if each == name and wanted <= has)

    def operations(self) -> dict[tuple[str, str], int]:
        """Commands answered, by operation and outcome; those that never were are left out."""
        return {
            (dict(labels)["operation"], dict(labels)["outcome"]): int(value)
            for (name, labels), value in self.samples.items()
            if name == "balance_operations_total" and value
        }
