"""Which groups were stale until lately, so that their series come down to zero before they end."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sockmon.model.direction import Direction
from sockmon.model.newcomers import KEPT_FOR_SECONDS
from sockmon.model.observation import StaleGroup

#: At most so many groups are remembered in addition to the present ones.
MENDED_GROUPS_KEPT = 100

Label = tuple[Direction, int | None, str]


@dataclass(frozen=True, slots=True)
class StaleMemory:
    """When each group was last stale (monotonic seconds). `mended`: those that are no more."""

    last_stale: Mapping[Label, float] = field(default_factory=dict)
    mended: tuple[Label, ...] = ()

    def seen(self, stale: Iterable[StaleGroup], now: float) -> "StaleMemory":
        """Return the memory after one more poll; latest mended first."""
        present = {(group.direction, group.port, group.owner): now for group in stale}
        gone = {
            label: at
            for label, at in self.last_stale.items()
            if label not in present and now - at < KEPT_FOR_SECONDS
        }
        latest = sorted(gone, key=gone.__getitem__, reverse=True)[:MENDED_GROUPS_KEPT]
        return StaleMemory(present | {label: gone[label] for label in latest}, tuple(latest))
