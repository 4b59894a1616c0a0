"""Text that others chose (names, keys, paths), made fit to print."""

import re

_NOT_A_LABEL = re.compile(r"[^A-Za-z0-9._@:+-]")


def label(name: str) -> str:
    """Make a process's own name fit for a metric label: bounded, and only plain characters."""
    return _NOT_A_LABEL.sub("_", name)[:40] or "unknown"


def one_line(text: str, longest: int | None = None) -> str:
    """Escape what is not printable, so that no text writes lines of its own; cut at `longest`."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return plain if longest is None or len(plain) <= longest else plain[:longest] + "..."
