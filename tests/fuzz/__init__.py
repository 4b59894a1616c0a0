"""Damaged captures by the thousand: `python -m tests.fuzz SECONDS`, or `make fuzz`."""
