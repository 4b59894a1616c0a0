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
    candidates: Iterable[SeriesCandidate], before: Collection[str], top: int
) -> frozenset[str]:
    """Choose at most `top`: those in trouble, then those shown before, then the largest."""
    ranked = sorted(
        candidates, key=lambda one: (not one.troubled, one.name not in before, -one.sockets)
    )
    return frozenset(one.name for one in ranked[:top])
