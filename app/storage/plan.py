"""A plan: the reads, or the checks and writes, of one call of the function library, with their keys."""

from dataclasses import dataclass, field

Op = list[str | int]
"""A command, the index of its key (from 1), and its arguments."""


@dataclass(slots=True)
class Plan:
    """Collects ops; each key is passed once, as the function library wants it."""

    keys: list[str] = field(default_factory=list)
    reads: list[Op] = field(default_factory=list)
    checks: list[Op] = field(default_factory=list)
    writes: list[Op] = field(default_factory=list)
    _index: dict[str, int] = field(default_factory=dict)

    def read(self, command: str, key: str, *args: str | int) -> None:
        """Plan a read; replies come in the order of the plan."""
        self.reads.append([command, self._key(key), *args])

    def expect(self, key: str, field_name: str, value: str) -> int:
        """Plan a comparison of a hash field, "" meaning absent; its index among the checks, from 1."""
        self.checks.append(["field", self._key(key), field_name, value])
        return len(self.checks)

    def expect_count(self, key: str, field_name: str, count: int) -> int:
        """Plan a comparison of a counter in a hash, absent being 0; its index among the checks, from 1."""
        self.checks.append(["count", self._key(key), field_name, str(count)])
        return len(self.checks)

    def expect_absent(self, key: str) -> int:
        """Plan that a key must not exist; its index among the checks, from 1."""
        self.checks.append(["absent", self._key(key)])
        return len(self.checks)

    def write(self, command: str, key: str, *args: str | int) -> None:
        """Plan a write."""
        self.writes.append([command, self._key(key), *args])

    def _key(self, name: str) -> int:
        index = self._index.get(name)
        if index is None:
            self.keys.append(name)
            index = self._index[name] = len(self.keys)
        return index
