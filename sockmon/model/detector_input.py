"""Everything one namespace's poll gives the detectors to judge by."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sockmon.model.ages import NO_AGES, NOTHING_HEARD, Aged, LastHeard
from sockmon.model.connection_events import RecentEvents
from sockmon.model.connects import Connects
from sockmon.model.descriptors import Descriptors
from sockmon.model.direction import Direction, Directions, PortMask, no_ports
from sockmon.model.distinct import distinct, kinds
from sockmon.model.finding import FindingKey, Severity
from sockmon.model.limits import KernelLimits
from sockmon.model.listeners import NONE_STUCK, DropWindow, ListenQueue, Stuck
from sockmon.model.owner import PROCESSES_NAMED, UNKNOWN, Group, Owner, Owners
from sockmon.model.ports import Destination, EphemeralPorts
from sockmon.model.queues import NO_QUEUES, Queues
from sockmon.model.series import SHARED_BY
from sockmon.model.states import TcpState
from sockmon.model.table import IPAddress, SocketTable, address
from sockmon.model.udp import Udp
from sockmon.model.unix_listeners import UnixListeners
from sockmon.text import label

Rows = NDArray[np.intp]

#: Local addresses that distinguish the services on one port.
_ANY, _LOCALHOST = "any", "localhost"


@dataclass(frozen=True, slots=True)
class Rates:
    """Per second since the last poll; empty at the first one.

    events: TcpExt counters by name; drops: connections dropped, by listening port.
    """

    events: Mapping[str, float] = field(default_factory=dict)
    drops: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PreviousFinding:
    """What a finding was in the polls before: its last severity, and (monotonic, value) samples.

    owner: the last that was known.
    """

    severity: Severity
    samples: tuple[tuple[float, float], ...]
    owner: Owner | None = None


@dataclass(frozen=True, slots=True)
class DetectorInput:
    """One namespace at one moment (`now` in monotonic seconds).

    exhaustion: seconds until a destination has no port left, of those that run out within a day.
    heard: what tcp_info says, of the sockets that it was asked about.
    udp_table: None where UDP sockets could not be read.
    whole: sockets at rest are in the table too; if not, queues holds nothing.
    resent_window: SYNs retransmitted in the last minutes, and segments that could not be.
    nameless: ports that nobody chose, which no metric may name; None: not known.
    events: how connections opened and closed in the last minutes; None: they are not counted.
    """

    netns: str
    now: float
    table: SocketTable
    directions: Directions
    listen_queues: tuple[ListenQueue, ...]
    ephemeral: EphemeralPorts
    exhaustion: Mapping[Destination, float]
    limits: KernelLimits
    aged: Aged = NO_AGES
    heard: LastHeard = NOTHING_HEARD
    queues: Queues = NO_QUEUES
    stuck: Stuck = NONE_STUCK
    connects: Connects = field(default_factory=Connects)
    drop_window: DropWindow[int] = field(default_factory=DropWindow)
    conntrack_window: DropWindow[str] = field(default_factory=DropWindow)
    resent_window: DropWindow[str] = field(default_factory=DropWindow)
    udp: Udp = field(default_factory=Udp)
    udp_table: SocketTable | None = None
    unix: UnixListeners = field(default_factory=UnixListeners)
    whole: bool = True
    nameless: PortMask | None = None
    events: RecentEvents | None = None
    rates: Rates = Rates()
    owners: Owners = field(default_factory=Owners)
    descriptors: tuple[Descriptors, ...] = ()
    past: Mapping[FindingKey, PreviousFinding] = field(default_factory=dict)

    def unnamed(self) -> PortMask:
        """Return the ports that nobody chose, as far as that is known."""
        if self.nameless is not None:
            return self.nameless
        port_range = self.limits.port_range
        return port_range.inside() if port_range else no_ports()

    def has_counted(self, direction: Direction, port: int) -> bool:
        """Whether connections were counted of a port that somebody chose, or that several share.

        Those that fail at once are in no table, so that the port may be known by nothing else.
        """
        counts = self.events.ports.get((direction, port)) if self.events else None
        if counts is None:
            return False
        return counts.connections >= SHARED_BY or not self.unnamed()[port]

    def groups(self, rows: NDArray[np.intp]) -> list[tuple[Group, NDArray[np.intp]]]:
        """Divide rows of the table by (direction, port, owner), largest group first.

        Where several local addresses are listened on at a port and no unit holds the sockets, each
        address is a service of its own.
        """
        if not rows.size:
            return []
        inbound, port = self.directions.is_inbound[rows], self.directions.port[rows]
        numbers = self.owners.numbers(self.table, rows)
        services = self._services(rows, numbers)
        keys = np.column_stack([inbound, port, numbers, services.place])
        found = kinds(*keys.T)
        order = np.argsort(found.which, kind="stable")
        parts = np.split(rows[order], np.cumsum(found.counts())[:-1])
        groups = [
            (Group(_direction(is_inbound), port, owner, services.names[place]), part)
            for (is_inbound, port, owner, place), part in sorted(
                zip(keys[found.rows].tolist(), parts, strict=True), key=lambda item: item[0]
            )
        ]
        return sorted(groups, key=lambda item: -item[1].size)

    def belonging(self, rows: Rows, group: Group, some: Rows) -> Rows:
        """Return those of the rows that are of the group, of whose rows `some` are given.

        The owner of a socket that was not looked up is its cgroup's, as far as that is known.
        """
        table, directions = self.table, self.directions
        near = (directions.is_inbound[rows] == (group.direction == "inbound")) & np.isin(
            table.cgroup_id[rows], distinct(table.cgroup_id[some])
        )
        if group.port is not None:
            near &= directions.port[rows] == group.port
        rows = rows[near]
        numbers = self.owners.numbers(table, rows)
        mine = (numbers == group.owner) | (numbers == UNKNOWN)
        if group.address is not None:
            services = self._services(rows, np.full(rows.size, group.owner))
            mine &= np.array(services.names, object)[services.place] == group.address
        chosen: Rows = rows[mine]
        return chosen

    def with_groups(self, rows: Rows) -> "DetectorInput":
        """Return the same, with the owners of the groups of these rows by process."""
        held: dict[Group, list[Rows]] = {}
        for group, part in self.groups(rows):
            for each in (group, group._replace(port=None, address=None)):
                held.setdefault(each, []).append(part)
        by_group = {}
        for group, parts in held.items():
            processes = self.owners.processes(self.table.inode[np.concatenate(parts)])
            owner = self.owners.get(group)
            if processes and owner is not None:
                by_group[group] = replace(
                    owner,
                    processes=processes[:PROCESSES_NAMED],
                    more=max(0, len(processes) - PROCESSES_NAMED),
                )
        return replace(self, owners=replace(self.owners, by_group=by_group))

    def _services(self, rows: Rows, numbers: NDArray[np.int64]) -> "_Services":
        """Tell services on one port apart by the address that they listen on."""
        place = np.zeros(rows.size, np.int64)
        names: dict[str | None, int] = {None: 0}
        programs = [n for n, owner in enumerate(self.owners.known, 1) if owner.unit is None]
        apart = self.directions.is_inbound[rows] & np.isin(numbers, programs)
        listened = self._listened(distinct(self.directions.port[rows[apart]]))
        apart &= np.isin(self.directions.port[rows], list(listened))
        for at in np.flatnonzero(apart).tolist():
            local = self._local(int(rows[at]))
            if local in listened[int(self.directions.port[rows[at]])]:
                place[at] = names.setdefault(local, len(names))
        return _Services(place, list(names))

    def _listened(self, ports: NDArray[np.integer]) -> dict[int, set[str]]:
        """Return the addresses listened on at those of the ports that have several."""
        table = self.table
        found: dict[int, set[str]] = {}
        if ports.size:
            rows = np.flatnonzero(table.state == TcpState.LISTEN)
            for row in rows[np.isin(table.local_port[rows], ports)].tolist():
                found.setdefault(int(table.local_port[row]), set()).add(self._local(row))
        return {port: names - {_ANY} for port, names in found.items() if len(names) > 1}

    def _local(self, row: int) -> str:
        """Name a row's local address; those of the loopback interface's own name are one."""
        local = address(int(self.table.family[row]), self.table.local[row])
        if local.is_unspecified:
            return _ANY
        return _LOCALHOST if str(local) in {"127.0.0.1", "::1"} else str(local)

    def owner_label(self, group: Group) -> str | None:
        """Return the label of the group's owner, once it has been looked up."""
        owner = self.owners.get(group)
        if owner is None:
            return None
        return owner.label if group.address is None else label(f"{owner.label}@{group.address}")

    def peers(self, rows: NDArray[np.intp], most: int = 5) -> list[tuple[IPAddress, int]]:
        """Return the remote addresses with most of the rows, and how many each has."""
        table = self.table
        found = kinds(*table.addresses(table.remote, rows))
        counts = found.counts()
        top = np.argsort(-counts, kind="stable")[:most]
        return [
            (address(int(table.family[row]), table.remote[row]), count)
            for row, count in zip(rows[found.rows[top]].tolist(), counts[top].tolist(), strict=True)
        ]


class _Services(NamedTuple):
    """Which service each row is of: a place among the names; the first, None, stands for most."""

    place: NDArray[np.int64]
    names: list[str | None]


def _direction(is_inbound: int) -> Direction:
    return "inbound" if is_inbound else "outbound"
