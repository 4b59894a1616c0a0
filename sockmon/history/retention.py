"""Divides the memory for history among namespaces: which is kept at which depth. Pure.

In this order: the daemon's own namespace in full; two in trouble, with every poll of the last hour;
all others that exist, coarsely; the rest of those in trouble, with every poll; namespaces that have
ended, since somebody may ask later what was wrong with them; and what memory is left makes the past
of all finer. So a host with a few namespaces has the full past of each, and one with a hundred has
a coarse day of all and the last hour of those in trouble, poll by poll.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sockmon.history.snapshot import COARSE, FULL, NEAR, SPANS, Depth

#: Bytes that all rows of all namespaces may use.
MEMORY = 18_000_000
#: Seconds after its last finding for which a namespace counts as troubled.
TROUBLED_SECONDS = SPANS["hour"]

#: This many in trouble are kept with every poll, even if others are then not kept at all.
SURE = 2

#: A row without its values, and its place in a deque; and each of its one or two numpy arrays.
_ROW_BYTES = 100
_ARRAY_BYTES = 112
_VALUE_BYTES = 4
#: Rows beyond a full range: those not dropped yet, and those that mark a gap.
_ROWS_SPARE = 4


@dataclass(frozen=True, slots=True)
class Claim:
    """A namespace that has, or would have, a history.

    there: it was seen in the last poll. kept: its depth so far. last: when it was last polled, in
    monotonic seconds.
    """

    name: str
    there: bool
    troubled: bool
    kept: Depth | None
    last: float


def cost(depth: Depth, interval: float) -> int:
    """Return the most bytes that the rows of a namespace use when polled at this interval."""
    taken = 0.0
    for span, step in depth.steps.items():
        rows = SPANS[span] / max(step, min(interval, SPANS[span])) + _ROWS_SPARE
        arrays = 1 if interval >= step else 2  # its highest and its lowest values
        taken += rows * (_ROW_BYTES + arrays * (_ARRAY_BYTES + depth.width * _VALUE_BYTES))
    return round(taken)


def allotted(claims: Sequence[Claim], interval: float) -> Mapping[str, Depth]:
    """Return the depth of each namespace; one that is missing has no history.

    claims: the daemon's own namespace first, which is always kept in full.
    """
    prices = {depth.name: cost(depth, interval) for depth in (FULL, NEAR, COARSE)}
    given: dict[str, Depth] = {}
    left = MEMORY
    for claim, depth in _wishes(claims):
        before = given.get(claim.name)
        more = prices[depth.name] - (prices[before.name] if before else 0)
        if 0 < more <= left or claim is claims[0]:
            given[claim.name] = depth
            left -= more
    return given


def _wishes(claims: Sequence[Claim]) -> Iterator[tuple[Claim, Depth]]:
    """Yield namespaces and depths, most important first."""
    if claims:
        yield claims[0], FULL
    others = claims[1:]
    there = sorted(
        (claim for claim in others if claim.there),
        key=lambda claim: (not claim.troubled, claim.kept is None),
    )
    gone = sorted((claim for claim in others if not claim.there), key=lambda claim: -claim.last)
    troubled = [claim for claim in (*there, *gone) if claim.troubled]
    yield from _each(troubled[:SURE], NEAR)
    yield from _each(there, COARSE)
    yield from _each(troubled, NEAR)
    yield from _each(gone, COARSE)
    yield from _each(there, NEAR)
    yield from _each(there, FULL)
    for claim in gone:
        if claim.kept is not None:
            yield claim, claim.kept


def _each(claims: Iterable[Claim], depth: Depth) -> Iterator[tuple[Claim, Depth]]:
    return ((claim, depth) for claim in claims)
