"""Quantities and names that several diagnoses share."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from sockmon.language import Text
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


def waiting(table: SocketTable, rows: NDArray[np.intp], queue: NDArray[np.integer]) -> Text:
    """Say how much waits in a column of queues; of MPTCP connections it is memory, not bytes."""
    size = shown_size(queue[rows].astype(np.int64).sum())
    buffers = table.multipath[rows].any()
    return Text(f"{size} of buffers", f"{size} 缓冲区") if buffers else Text(size)


def percent(ratio: float) -> str:
    """0.8 -> 80 %."""
    return f"{100 * ratio:.0f} %"


def who(owner: Owner | None) -> Text:
    """Name the holder of a group's sockets in full, as the subject of a sentence."""
    if owner is None or not (owner.unit or owner.processes):
        return Text("an unknown process", "未知进程")
    name, is_container = one_line(owner.name), bool(owner.unit and is_container_id(owner.unit))
    text = Text(f"container {name}", f"容器 {name}") if is_container else Text(name)
    if owner.unit is None or owner.name == owner.unit:
        return text
    user, kind = one_line(owner.manager.name), "容器" if is_container else ""
    return Text(text, f"用户 {user} 的{kind} {one_line(owner.unit)}")


def holder(owner: Owner | None) -> Text:
    """Name the holder where advice speaks of it, as the subject or in mid-sentence."""
    name = who(owner)
    return name if name != who(None) else Text("the process that holds them", "持有它们的进程")


def of_whom(owner: Owner | None) -> Text:
    """Name the holder in front of a sentence about its sockets; nothing where it is not known."""
    name = who(owner)
    return Text("") if name == who(None) else Text(f"{name}: ", f"{name.zh}：")


def place(group: Group) -> Text:
    """Say what the group's sockets are to this host."""
    several = group.port is None
    port = "several ports" if several else f"port {group.port}"
    zh = "多个端口" if several else f"{group.port} 端口"
    if group.direction == "outbound":
        return Text(f"made to {port}", f"连往{_spaced(zh)}的")
    if group.address:
        return Text(f"accepted on {port} of {group.address}", f"{group.address} 的 {zh}接受的")
    return Text(f"accepted on {port}", f"{zh}接受的")


def at_port(direction: str, port: int | None) -> Text:
    """Name a group of a breakdown."""
    return Text(f"{direction} port {port}", f"{chinese_of(direction)} {port} 端口")


def chinese_of(direction: str) -> str:
    """Return the Chinese word for a direction."""
    return {"inbound": "入站", "outbound": "出站"}.get(direction, direction)


def _spaced(zh: str) -> str:
    return f" {zh}" if zh[0].isascii() else zh


def places(data: DetectorInput, group: Group, rows: NDArray[np.intp]) -> Text:
    """Say the same, and of a group of several ports how many, and whose they are."""
    if group.port is not None:
        return place(group)
    ports = distinct(data.directions.port[rows]).size
    if group.direction == "inbound":
        return Text(f"accepted on {ports} ports", f"{ports} 个端口接受的")
    peers = data.peers(rows, 2)
    if len(peers) > 1:
        return Text(
            f"made to {ports} ports of several addresses", f"连往多个地址共 {ports} 个端口的"
        )
    return Text(
        f"made to {ports} ports of {peers[0][0]}", f"连往 {peers[0][0]} 的 {ports} 个端口的"
    )


def ports(
    data: DetectorInput, group: Group, rows: NDArray[np.intp], most: int = 5
) -> dict[str, Breakdown]:
    """Return the ports with most of the rows, of a group of several ports."""
    if group.port is not None:
        return {}
    found, counts = np.unique(data.directions.port[rows], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:most].tolist()
    return {
        "ports": tuple(
            (at_port(group.direction, int(found[at])), sockets(int(counts[at]))) for at in order
        )
    }


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
