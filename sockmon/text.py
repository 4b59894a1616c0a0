"""Text from outside (names, keys, paths), made safe to print."""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

_NOT_A_LABEL = re.compile(r"[^A-Za-z0-9._@:+-]")
_CONTAINER_ID = re.compile(r"[0-9a-f]{12}")
_LABEL_LENGTH = 128


def label(name: str) -> str:
    """Make a process's own name usable in a metric label: bounded, and only plain characters.

    A name that is too long is cut in the middle: what tells two units apart is often at the end.
    """
    plain = _NOT_A_LABEL.sub("_", name)
    if len(plain) > _LABEL_LENGTH:
        half = (_LABEL_LENGTH - 1) // 2
        plain = f"{plain[: _LABEL_LENGTH - 1 - half]}…{plain[-half:]}"
    return plain or "unknown"


def is_container_id(name: str) -> bool:
    """Whether a name is the beginning of a container's id, as owners name containers."""
    return _CONTAINER_ID.fullmatch(name) is not None


def one_line(text: str, longest: int | None = None) -> str:
    """Escape what is not printable, so that no text can break a line; cut at `longest`.

    Without a codec: Python loads one from a file on first use, which fails without descriptors.
    """
    plain = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return plain if longest is None or len(plain) <= longest else plain[:longest] + "..."


def did_you_mean(
    word: str, known: Iterable[str], others: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Return "; did you mean X?" for the known word that is most like `word`, or nothing.

    others: what people write for a known word.
    """
    import difflib  # noqa: PLC0415 - only a mistake needs it

    by_folded = {_folded(other): each for other, each in others.items()}
    by_folded |= {_folded(each): each for each in known}
    nearest = difflib.get_close_matches(_folded(word[:100]), by_folded, n=1)
    return f"; did you mean {by_folded[nearest[0]]}?" if nearest else ""


def _folded(word: str) -> str:
    return word.lower().replace("_", "-").lstrip("-")


def natural_order(text: str) -> tuple[tuple[bool, int, str], ...]:
    """Return a key for sorting: 443 comes before 8080, and 10.0.0.9 before 10.0.0.10."""
    parts = re.findall(r"\d{1,18}|\D+", text, re.ASCII)
    return tuple((False, int(p), "") if p.isdecimal() else (True, 0, p) for p in parts)
