"""Numbers of things, in words. Pure."""


def plural(count: int, word: str) -> str:
    """Return `1 byte`, `2 bytes`."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"
