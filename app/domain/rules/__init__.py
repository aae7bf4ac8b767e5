"""The rules: one function per command, from a Case to a Decision. Pure.

Every check comes before the first change of value; a rule either refuses or returns the whole effect.
"""
