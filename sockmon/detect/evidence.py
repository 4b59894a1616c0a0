"""Quantities and names that several diagnoses share."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from sockmon.model.detector_input import DetectorInput, Rates
from sockmon.model.distinct import distinct
from sockmon.model.finding import Breakdown, Quantity
from sockmon.model.other_end import other_end
from sockmon.model.owner import Group, Owner
from sockmon.model.states import TcpState
from sockmon.model.table import SocketTable
from sockmon.text import is_container_id, one_line


def seconds(value: float) -> Quantity:
    """A duration, to a tenth of a second."""
    return Quantity(round(value, 1), "seconds")


def size(value: float) -> Quantity:
    """Bytes."""
    return Quantity(int(value), "bytes")


def sockets(value: float) -> Quantity:
    """A number of sockets."""
    return Quantity(int(value), "sockets")


def count(value: float) -> Quantity:
    """A number of anything else."""
    return Quantity(int(value), "count")


def text(value: object) -> Quantity:
    """A word or a range."""
    return Quantity(str(value), "text")


def shown_size(value: float) -> str:
    """612 B, 2.5 KiB, 1.2 GiB."""
    units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return (
        f"{value:.0f} {units[0]}" if units[0] == "B" or value >= 100 else f"{value:.1f} {units[0]}"
    )


def waiting(table: SocketTable, rows: NDArray[np.intp], queue: NDArray[np.integer]) -> str:
    """Say how much waits in a column of queues; of MPTCP connections it is memory, not bytes."""
    size = shown_size(queue[rows].astype(np.int64).sum())
    return f"{size} of buffers" if table.multipath[rows].any() else size


def percent(ratio: float) -> str:
    """0.8 -> 80 %."""
    return f"{100 * ratio:.0f} %"


def who(owner: Owner | None) -> str:
    """Name the holder of a group's sockets in full, as the subject of a sentence."""
    if owner is None or not (owner.unit or owner.processes):
        return "an unknown process"
    name = one_line(owner.name)
    return f"container {name}" if owner.unit and is_container_id(owner.unit) else name


def place(group: Group) -> str:
    """Say what the group's sockets are to this host."""
    port = "several ports" if group.port is None else f"port {group.port}"
    if group.direction == "outbound":
        return f"made to {port}"
    return f"accepted on {port}" + (f" of {group.address}" if group.address else "")


def places(data: DetectorInput, group: Group, rows: NDArray[np.intp]) -> str:
    """Say the same, and of a group of several ports how many, and whose they are."""
    if group.port is not None:
        return place(group)
    ports = distinct(data.directions.port[rows]).size
    if group.direction == "inbound":
        return f"accepted on {ports} ports"
    peers = data.peers(rows, 2)
    whose = str(peers[0][0]) if len(peers) == 1 else "several addresses"
    return f"made to {ports} ports of {whose}"


def inodes(table: SocketTable, rows: NDArray[np.intp]) -> tuple[int, ...]:
    """Return the inodes of those that a process still holds."""
    return tuple(inode for inode in table.inode[rows].tolist() if inode)


def callers(
    data: DetectorInput, rows: NDArray[np.intp]
) -> tuple[tuple[Group, tuple[int, ...]], ...]:
    """Return who holds the other ends of the rows on this host: the largest group, if any."""
    ends = other_end(data.table, rows)
    ends = ends[ends >= 0]
    groups = data.groups(ends[data.table.inode[ends] != 0])
    return tuple((group, inodes(data.table, part)) for group, part in groups[:1])


def per_second(rates: Rates, names: Iterable[str]) -> Breakdown:
    """Return the kernel's counters of these names, as far as their rates are known."""
    known = ((name, rates.events[name]) for name in names if name in rates.events)
    return tuple((name, Quantity(round(rate, 2), "per_second")) for name, rate in known)


def by_state(counts: Mapping[TcpState, int]) -> Breakdown:
    """Return sockets by state, as people spell it, most first."""
    present = sorted(((n, state) for state, n in counts.items() if n), reverse=True)
    return tuple((state.name, sockets(n)) for n, state in present)


def states_of(data: DetectorInput, rows: NDArray[np.intp]) -> Breakdown:
    """Return the rows by state, most first."""
    states, counts = np.unique(data.table.state[rows], return_counts=True)
    return by_state({TcpState(s): n for s, n in zip(states, counts.tolist(), strict=True)})


def peers(data: DetectorInput, rows: NDArray[np.intp], most: int = 5) -> Breakdown:
    """Return the remote addresses with most of the rows."""
    return tuple((str(address), sockets(n)) for address, n in data.peers(rows, most))
