"""Blocks of parts that this version does not have: every key with its type, checked as the part itself would."""
