"""python -m sockmon."""

from sockmon.commands.cli import entry_point

entry_point()
