"""Text that others chose (names, keys, paths), made fit to print."""


def one_line(text: str, longest: int | None = None) -> str:
    """Escape what is not printable, so that no text writes lines of its own; cut at `longest`."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return plain if longest is None or len(plain) <= longest else plain[:longest] + "..."
