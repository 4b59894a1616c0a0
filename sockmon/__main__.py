"""python -m sockmon."""

from sockmon.ui.cli import entry_point

entry_point()
