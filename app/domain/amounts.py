"""What an amount of chips may be. Amounts are whole chips in an int; nothing here rounds or rescales."""

MAX_CHIPS = 9_007_199_254_740_991
"""2**53 - 1: the largest integer that JSON readers and Lua hold exactly (CONTRACT, head)."""

CURRENCY = "CHIPS"


def is_amount(value: object) -> bool:
    """True for an int in 1..MAX_CHIPS; a bool is not an amount."""
    return type(value) is int and 0 < value <= MAX_CHIPS


def credit_fits(balance: int, amount: int) -> bool:
    """True if `balance + amount` stays within MAX_CHIPS."""
    return balance + amount <= MAX_CHIPS
