"""Sockets at rest: nearly all of a large table, and no trouble by their state alone.

A large table is read whole only now and then. In between the other states are read, and what was
at rest the last time is taken to be so still.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sockmon.model.counts import (
    Groups,
    StateCounts,
    by_direction_and_port,
    by_family,
    difference,
    sum_of,
)
from sockmon.model.direction import Directions
from sockmon.model.ports import EphemeralPorts
from sockmon.model.states import RESTING_STATES, STATE_SLOTS
from sockmon.model.table import SocketTable

_RESTING = np.isin(np.arange(STATE_SLOTS), RESTING_STATES)


@dataclass(frozen=True, slots=True)
class Resting:
    """What the last read of a whole table found at rest, and the ports that all sockets hold."""

    by_family: Mapping[int, StateCounts]
    groups: Groups
    ephemeral: EphemeralPorts

    @staticmethod
    def of(
        table: SocketTable, directions: Directions, groups: Groups, ephemeral: EphemeralPorts
    ) -> "Resting":
        """Leave out of a whole table and its groups the sockets that are not at rest."""
        rows = np.flatnonzero(~_RESTING[table.state])  # few, as a rule
        others = by_direction_and_port(
            table.select(rows), Directions(directions.is_inbound[rows], directions.port[rows])
        )
        at_rest = {
            family: tuple(n if _RESTING[state] else 0 for state, n in enumerate(counts))
            for family, counts in by_family(table).items()
        }
        return Resting(at_rest, difference(groups, others), ephemeral)

    def with_others(self, others: Mapping[int, StateCounts]) -> dict[int, StateCounts]:
        """Add the sockets that are not at rest, by family and state."""
        return {
            family: tuple(map(sum, zip(self.by_family[family], counts, strict=True)))
            for family, counts in others.items()
        }

    def groups_with(self, others: Groups) -> Groups:
        """Add the groups of those that are not."""
        return sum_of(self.groups, others)
