"""How many connections opened and ended a second, between two looks. Pure."""

from typing import NamedTuple

from sockmon.client.snapshot import PortEvents, Snapshot

_NOTHING = PortEvents(0, 0, 0, 0)


class Rate(NamedTuple):
    """Of one port, direction and namespace, a second."""

    port: str
    direction: str
    netns: str
    opened: float
    failed: float
    closed: float
    aborted: float

    @property
    def total(self) -> float:
        """All of them together: how busy it is."""
        return self.opened + self.failed + self.closed + self.aborted


def rates(old: Snapshot, new: Snapshot) -> tuple[Rate, ...] | None:
    """Return what has any, the busiest first; None: no namespace was counted in both looks."""
    seconds = new.at.wall - old.at.wall
    before = {part.netns: part for part in old.parts}
    known, found = False, []
    for part in new.parts:
        then = before.get(part.netns)
        if part.events is None or then is None or then.events is None or seconds <= 0:
            continue
        if part.events_since != then.events_since:  # counted anew
            continue
        known = True
        for (port, direction), counts in part.events.items():
            earlier = then.events.get((port, direction), _NOTHING)
            grown = [max(0, now - was) / seconds for now, was in zip(counts, earlier, strict=True)]
            found.append(Rate(port, direction, part.netns, *grown))
    if not known:
        return None
    return tuple(sorted((r for r in found if r.total), key=lambda rate: -rate.total))
