"""The money rules: pure functions over immutable records. No I/O, no clock, no randomness, no floats."""
