"""Whether a client's CLOSE_WAIT sockets may be the idle connections of a pool, and no leak."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sockmon.model import close_wait
from sockmon.model.detector_input import DetectorInput, PreviousFinding
from sockmon.model.distinct import kinds
from sockmon.model.owner import Group
from sockmon.model.states import TcpState

Rows = NDArray[np.intp]

#: A pool that has so many more connections at rest than before is none, if it still grows.
_GROWTH = 3
#: So many come to rest in each part of the last minute, if it leaks.
_ARRIVAL_SECONDS, _QUARTERS = 60.0, 4


@dataclass(frozen=True, slots=True)
class IdlePools:
    """Of one poll. rests: mask over the table, as close_wait.at_rest() returns it."""

    data: DetectorInput
    rests: NDArray[np.bool_]

    @staticmethod
    def of(data: DetectorInput) -> "IdlePools":
        """Look at what is at rest."""
        return IdlePools(data, close_wait.at_rest(data.aged, data.table))

    def may_have(
        self,
        group: Group,
        rows: Rows,
        previous: PreviousFinding | None,
        growth: Callable[[], float | None],
    ) -> bool:
        """Whether a group's sockets are at rest, and no more than before.

        growth: return sockets per second; where it is not known yet, they may be no more.
        """
        if group.direction == "inbound" or not self.rests[rows].all():
            return False
        least = min((value for _, value in previous.samples), default=0.0) if previous else np.inf
        grows = rows.size - least >= _GROWTH and bool(growth())
        return not (grows or self._arrive(group, rows))

    def left_by(self, group: Group, rows: Rows) -> Rows:
        """Leave out what a pool may keep: several connections at rest to one place."""
        if group.direction == "inbound" or rows.size == 1:
            return rows
        table = self.data.table
        places = kinds(*table.remote_ends(rows))
        left: Rows = rows[~(self.rests[rows] & (places.counts()[places.which] > 1))]
        return left

    def _arrive(self, group: Group, rows: Rows) -> bool:
        """Whether more come to rest all the time, in each quarter of the last minute.

        In a pool that is used, they are noticed and replaced.
        """
        aged = self.data.aged
        places = aged.of_state(TcpState.CLOSE_WAIT)
        ages = self.data.now - aged.since[places]
        young = (ages < _ARRIVAL_SECONDS) & self.rests[aged.rows[places]]
        mine = self.data.belonging(aged.rows[places[young]], group, rows)
        ages = ages[np.isin(aged.rows[places], mine)]
        counts, _ = np.histogram(ages, _QUARTERS, (0.0, _ARRIVAL_SECONDS))
        return bool((counts >= _GROWTH).all())
