"""Everything one namespace's poll gives the detectors to judge by."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sockmon.model.ages import NOBODY, Aged
from sockmon.model.connects import Connects
from sockmon.model.direction import Direction, Directions
from sockmon.model.finding import FindingKey, Severity
from sockmon.model.limits import KernelLimits
from sockmon.model.listeners import NONE_STUCK, DropWindow, ListenQueue, Stuck
from sockmon.model.owner import Group, Owner
from sockmon.model.ports import Destination, EphemeralPorts
from sockmon.model.queues import NO_QUEUES, Queues
from sockmon.model.table import IPAddress, SocketTable, address
from sockmon.model.udp import Udp


@dataclass(frozen=True, slots=True)
class Rates:
    """Per second since the last poll; empty at the first one.

    events: TcpExt counters by name; drops: connections dropped, by listening port.
    """

    events: Mapping[str, float] = field(default_factory=dict)
    drops: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PreviousFinding:
    """What a finding was in the polls before: its last severity, and (monotonic, value) samples."""

    severity: Severity
    samples: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class DetectorInput:
    """One namespace at one moment (`now` in monotonic seconds).

    exhaustion: seconds until a destination has no port left, of those that run out within a day.
    udp_table: None where UDP sockets could not be read.
    whole: sockets at rest are in the table too; if not, queues holds nothing.
    """

    netns: str
    now: float
    table: SocketTable
    directions: Directions
    listen_queues: tuple[ListenQueue, ...]
    ephemeral: EphemeralPorts
    exhaustion: Mapping[Destination, float]
    limits: KernelLimits
    aged: Aged = NOBODY
    queues: Queues = NO_QUEUES
    stuck: Stuck = NONE_STUCK
    connects: Connects = field(default_factory=Connects)
    drop_window: DropWindow = field(default_factory=DropWindow)
    udp: Udp = field(default_factory=Udp)
    udp_table: SocketTable | None = None
    whole: bool = True
    rates: Rates = Rates()
    owners: Mapping[Group, Owner] = field(default_factory=dict)
    past: Mapping[FindingKey, PreviousFinding] = field(default_factory=dict)

    def groups(self, rows: NDArray[np.intp]) -> list[tuple[Group, NDArray[np.intp]]]:
        """Divide rows of the table by (direction, port, cgroup), largest group first."""
        if not rows.size:
            return []
        keys = np.column_stack(
            [
                self.directions.is_inbound[rows].astype(np.uint64),
                self.directions.port[rows].astype(np.uint64),
                self.table.cgroup_id[rows].astype(np.uint64),
            ]
        )
        distinct, which = np.unique(keys, axis=0, return_inverse=True)
        which = which.ravel()
        order = np.argsort(which, kind="stable")
        parts = np.split(rows[order], np.flatnonzero(np.diff(which[order])) + 1)
        groups = [
            (Group(_direction(is_inbound), port, cgroup_id), part)
            for (is_inbound, port, cgroup_id), part in zip(distinct.tolist(), parts, strict=True)
        ]
        return sorted(groups, key=lambda item: -item[1].size)

    def owner_label(self, group: Group) -> str | None:
        """Return the owner's label, once it has been looked up."""
        owner = self.owners.get(group)
        return owner.label if owner else None

    def peers(self, rows: NDArray[np.intp], most: int = 5) -> list[tuple[IPAddress, int]]:
        """Return the remote addresses with most of the rows, and how many each has."""
        words = np.column_stack(
            [self.table.family[rows].astype(np.uint32), self.table.remote[rows]]
        )
        distinct, counts = np.unique(words, axis=0, return_counts=True)
        top = np.argsort(-counts, kind="stable")[:most].tolist()
        return [(address(int(distinct[at][0]), distinct[at][1:]), int(counts[at])) for at in top]


def _direction(is_inbound: int) -> Direction:
    return "inbound" if is_inbound else "outbound"
