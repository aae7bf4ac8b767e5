"""The rake: what the house takes off a pot before it is paid (CONTRACT 4)."""

import msgspec

WHOLE = 10_000
"""Basis points of the whole."""


class RakeRule(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """How much is taken: `basis_points` of pots above `minimum` chips, at most `cap` chips.

    Written out in full where it is stored: the defaults may change, what was taken may not.
    """

    basis_points: int = 500
    cap: int = 5
    minimum: int = 20

    def of(self, pot: int) -> int:
        """The rake of a pot, in chips: rounded down, and nothing where basis points or cap are 0."""
        if self.basis_points <= 0 or self.cap <= 0 or pot <= self.minimum:
            return 0
        return min(pot * self.basis_points // WHOLE, self.cap)
