"""Which namespaces have series of their own."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SeriesCandidate:
    """A namespace that may get series of its own."""

    name: str
    troubled: bool
    sockets: int


def shown_namespaces(
    candidates: Iterable[SeriesCandidate], before: Collection[str], top: int, room: int
) -> frozenset[str]:
    """Choose at most `top`: those in trouble, then those shown before, then the largest.

    room: for so many that were not shown before.
    """
    ranked = sorted(
        candidates, key=lambda one: (not one.troubled, one.name not in before, -one.sockets)
    )
    new = [one.name for one in ranked if one.name not in before]
    waiting = frozenset(new[room:])
    return frozenset([one.name for one in ranked if one.name not in waiting][:top])
