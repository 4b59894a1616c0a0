"""Who is remembered how closely: what the memory for history is spent on. Pure.

The daemon's own namespace comes first, in full, then two in trouble by every poll; then everybody
who is there, coarsely, and the others in trouble by every poll; then those who have gone, for what
was wrong with them may be asked for later; and what is left makes the past of all finer. So a host
with a few namespaces has the whole past of each, and one with a hundred has a day of all and the
last hour of the troubled, poll by poll.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sockmon.history.snapshot import COARSE, FULL, NEAR, SPANS, Depth

#: What all rows of all namespaces may take, in bytes.
MEMORY = 18_000_000
#: A namespace counts as troubled for so long after its last finding: then its hour has passed.
TROUBLED_SECONDS = SPANS["hour"]

#: So many in trouble are remembered by every poll, though others be forgotten for it.
SURE = 2

#: A row without its values, and its place in a deque; and each of its one or two numpy arrays.
_ROW_BYTES = 100
_ARRAY_BYTES = 112
_VALUE_BYTES = 4
#: Rows that are there before their first ones are let go, and those that mark a gap.
_ROWS_SPARE = 4


@dataclass(frozen=True, slots=True)
class Claim:
    """A namespace that has, or would have, a history.

    there: it was seen in the last poll. kept: how it is remembered so far. last: when it was last
    polled, in monotonic seconds.
    """

    name: str
    there: bool
    troubled: bool
    kept: Depth | None
    last: float


def cost(depth: Depth, interval: float) -> int:
    """Return how many bytes a namespace's rows take at most, polled so many seconds apart."""
    taken = 0.0
    for span, step in depth.steps.items():
        rows = SPANS[span] / max(step, min(interval, SPANS[span])) + _ROWS_SPARE
        arrays = 1 if interval >= step else 2  # its highest and its lowest values
        taken += rows * (_ROW_BYTES + arrays * (_ARRAY_BYTES + depth.width * _VALUE_BYTES))
    return round(taken)


def allotted(claims: Sequence[Claim], interval: float) -> Mapping[str, Depth]:
    """Return how closely each is remembered; who is not in it has no history.

    claims: the daemon's own namespace first, which is remembered in full whatever it takes.
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
    """Yield who would have what, the most pressing first."""
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
