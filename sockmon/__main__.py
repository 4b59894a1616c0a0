"""python -m sockmon."""

from sockmon.entry import entry_point

entry_point()
