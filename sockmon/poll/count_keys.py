"""The keys by which `sockmon count` counts, and the sockets of one protocol in one namespace.

What few keys need (owners, units) is imported by those that do.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sockmon.kernel.errors import ProcError
from sockmon.kernel.interfaces import Source
from sockmon.kernel.netlink.source import KernelSource
from sockmon.model.direction import Directions, Listened, directions, no_ports
from sockmon.model.distinct import kinds
from sockmon.model.limits import DEFAULT_PORT_RANGE
from sockmon.model.states import STATE_SLOTS, Spelling, TcpState
from sockmon.model.table import Column, SocketTable, address
from sockmon.model.unix_listeners import UnixSocket, shown_path
from sockmon.text import one_line

Value = str | int
Rows = NDArray[np.intp]
SocketKind = Literal["tcp", "mptcp", "udp", "unix"]
#: mptcp is a part of tcp: an MPTCP connection is one of TCP.
KINDS: tuple[SocketKind, ...] = ("tcp", "mptcp", "udp", "unix")

#: Stands for what a socket does not have, such as the owner of one in TIME_WAIT.
NONE = "-"
_NO_PORT = -1


class Coded(NamedTuple):
    """One property of every chosen socket: `codes` index into `values`."""

    codes: Rows
    values: Sequence[Value]


class Reading(Protocol):
    """What all namespaces together have."""

    source: KernelSource
    spelling: Spelling
    hints: list[str]
    names: list[str]
    words: "Words"


@dataclass(slots=True)
class Words:
    """Texts that sockets have in common, each once."""

    known: dict[str, int] = field(default_factory=dict)

    def code(self, word: str) -> int:
        """Return a text's number."""
        return self.known.setdefault(word, len(self.known))

    def coded(self, codes: Column) -> Coded:
        """Return a column of numbers with its texts."""
        return Coded(codes.astype(np.intp), [*self.known])


@dataclass(frozen=True)
class Part:
    """The sockets of one kind in one namespace; their table is valid until the next is read.

    number: the namespace's, among those that are read.
    """

    source: Source
    number: int
    kind: SocketKind
    table: SocketTable
    words: Words
    unix: tuple[UnixSocket, ...] = ()

    @staticmethod
    def read(source: Source, number: int, kind: SocketKind, words: Words) -> "Part":
        """Read them; raises KernelError."""
        if kind == "unix":
            sockets = source.unix()
            return Part(source, number, kind, _table_of(sockets), words, sockets)
        families = source.families()
        table = source.udp(families) if kind == "udp" else source.tcp(families)
        return Part(source, number, kind, table, words)

    @cached_property
    def directions(self) -> Directions:
        """Each namespace's own: they depend on its listeners and its port range.

        An UDP socket that is not connected serves its local port.
        """
        if self.kind == "udp":
            served = no_ports()
            served[self.table.local_port[self.table.state == TcpState.CLOSE]] = True
            inbound = served[self.table.local_port]
            port = np.where(inbound, self.table.local_port, self.table.remote_port)
            return Directions(inbound, port)
        try:
            port_range = self.source.port_range()
        except ProcError as error:
            if error.reason != "ENOENT":
                raise
            port_range = DEFAULT_PORT_RANGE  # hidden: see settings_hidden
        return directions(self.table, Listened().seen(self.table), port_range)


def _table_of(sockets: tuple[UnixSocket, ...]) -> SocketTable:
    """Return Unix sockets as a table; it has their states and inodes, and nothing else."""
    count = len(sockets)
    columns = {
        name: np.zeros((count, 4) if name in ("local", "remote") else count, np.uint32)
        for name in SocketTable.__slots__
    }
    columns["state"] = np.array([its.state for its in sockets], np.uint8)
    columns["inode"] = np.array([its.inode for its in sockets], np.uint32)
    return SocketTable(**columns)


class Key(NamedTuple):
    """take: the column of the chosen rows, copied while their table is valid. code: its values."""

    take: Callable[[Part, Rows], Column]
    code: Callable[[Reading, Column], Coded]


def _by_state(view: Reading, states: Column) -> Coded:
    names = [NONE] * STATE_SLOTS
    for state in TcpState:
        names[state] = state.spelled(view.spelling)
    return Coded(states.astype(np.intp), names)


def _ports(part: Part, rows: Rows) -> Column:
    if part.kind == "unix":
        return np.full(rows.size, _NO_PORT, np.int32)
    return part.directions.port[rows].astype(np.int32)


def _by_port(_: Reading, ports: Column) -> Coded:
    distinct, codes = np.unique(ports, return_inverse=True)
    return Coded(codes, [NONE if port == _NO_PORT else port for port in distinct.tolist()])


def _directions(part: Part, rows: Rows) -> Column:
    if part.kind == "unix":
        return np.full(rows.size, 2, np.uint8)
    return part.directions.is_inbound[rows].astype(np.uint8)


def _by_direction(_: Reading, is_inbound: Column) -> Coded:
    return Coded(is_inbound.astype(np.intp), ("outbound", "inbound", NONE))


def _by_family(_: Reading, families: Column) -> Coded:
    distinct, codes = np.unique(families, return_inverse=True)
    names = {0: NONE, 4: "ipv4", 6: "ipv6"}
    return Coded(codes, [names[family] for family in distinct.tolist()])


def _by_netns(view: Reading, numbers: Column) -> Coded:
    return Coded(numbers.astype(np.intp), view.names)


def _protocols(part: Part, rows: Rows) -> Column:
    kinds = np.full(rows.size, KINDS.index(part.kind), np.uint8)
    if part.kind == "tcp":
        kinds[part.table.multipath[rows].astype(np.bool_)] = KINDS.index("mptcp")
    return kinds


def _by_protocol(_: Reading, kinds: Column) -> Coded:
    return Coded(kinds.astype(np.intp), KINDS)


def _peers(part: Part, rows: Rows) -> Column:
    table = part.table
    return np.column_stack([table.family[rows].astype(np.uint32), table.remote[rows]])


def _by_peer(_: Reading, peers: Column) -> Coded:
    found = kinds(*peers.T)
    no_peer = {"0.0.0.0", "::"}  # noqa: S104 - a listener's remote address, not one of ours
    names = (str(address(int(row[0]), row[1:])) if row[0] else NONE for row in peers[found.rows])
    return _named(found.which, [NONE if name in no_peer else name for name in names])


def _listeners(part: Part, rows: Rows) -> Column:
    """Number the listener that each row is of: that of its address and port, or of any address."""
    table, words = part.table, part.words
    if part.kind == "unix":
        names = (part.unix[row] for row in rows.tolist())
        return np.array(
            [words.code(shown_path(s.name) if s.name else NONE) for s in names], np.intp
        )
    serves = TcpState.CLOSE if part.kind == "udp" else TcpState.LISTEN
    known = {_end(table, row) for row in np.flatnonzero(table.state == serves).tolist()}
    ends = kinds(table.family[rows], table.local_port[rows], *table.local[rows].T)
    found = [words.code(_listener(_end(table, row), known)) for row in rows[ends.rows].tolist()]
    codes = np.array(found, np.intp)[ends.which]
    return np.where(part.directions.is_inbound[rows], codes, words.code(NONE))


_End = tuple[str, int]


def _end(table: SocketTable, row: int) -> _End:
    return str(address(int(table.family[row]), table.local[row])), int(table.local_port[row])


def _listener(end: _End, known: set[_End]) -> str:
    """Return the listener that has accepted what is at this end, as far as it is still there."""
    local, port = end
    for each in ((local, port), ("0.0.0.0", port), ("::", port)):  # noqa: S104 - as listened on
        if each in known and not (each[0] == "0.0.0.0" and ":" in local):  # noqa: S104 - as above
            host, port = each
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return NONE


def _by_word(view: Reading, codes: Column) -> Coded:
    return view.words.coded(codes)


def _by_unit(view: Reading, column: Column) -> Coded:
    from sockmon.kernel.cgroups import titled_unit  # noqa: PLC0415 - see above

    return _by_cgroup(view, column, titled_unit)


def _by_container(view: Reading, column: Column) -> Coded:
    from sockmon.kernel.cgroups import container_of  # noqa: PLC0415 - see above
    from sockmon.kernel.containers import read_names  # noqa: PLC0415 - see above

    def name(path: str) -> str:
        container = container_of(path)
        if container is None:
            return NONE
        names = read_names(view.source.proc.parent, container)
        known = (names.namespace, names.pod, names.container) if names else ()
        return one_line("/".join(filter(None, known))) or container[:12]

    return _by_cgroup(view, column, name)


def _by_cgroup(view: Reading, column: Column, name: Callable[[str], str]) -> Coded:
    """Name cgroups of sockets; of those that the kernel says nothing of, those of their holders.

    That is the case before Linux 5.8, and on cgroup v1: there it says none, or the root.
    """
    from sockmon.kernel.cgroups import read_cgroup_paths  # noqa: PLC0415 - see above

    ids, codes = _distinct(column[:, 0])
    found = read_cgroup_paths(view.source.proc, [i for i in ids if i])
    paths = [found.get(i) for i in ids]
    says_nothing = np.array([path in {None, "/"} for path in paths], np.bool_)
    rows = np.flatnonzero(says_nothing[codes] & (column[:, 1] != 0))
    if rows.size:
        inodes, first, which = np.unique(column[rows, 1], return_index=True, return_inverse=True)
        of_holders = _cgroups_of_holders(view, inodes.tolist())
        said = codes[rows[first]].tolist()
        codes[rows] = which + len(paths)
        paths += [of_holders.get(i, paths[at]) for i, at in zip(inodes.tolist(), said, strict=True)]
    return _named(codes, [NONE if path is None else name(path) for path in paths])


def _cgroups_of_holders(view: Reading, inodes: Collection[int]) -> dict[int, str]:
    """Return by inode the paths of cgroups of processes that hold sockets and can be seen."""
    from sockmon.kernel.netns.discovery import read_cgroup  # noqa: PLC0415 - see above
    from sockmon.kernel.owners import read_owners  # noqa: PLC0415 - see above

    proc = view.source.proc
    look = read_owners(proc, inodes)
    pids = {held[0].pid for held in look.holders.values()}
    paths = {pid: read_cgroup(proc, pid) for pid in pids}
    if look.hidden and len(look.holders) < len(inodes):
        _hint_hidden(view, look.hidden, "unit")
    return {inode: paths[held[0].pid] for inode, held in look.holders.items()}


def _by_owner(view: Reading, column: Column) -> Coded:
    return _by_holder(view, column, lambda name, pid: f"{one_line(name)}[{pid}]")


def _by_pid(view: Reading, column: Column) -> Coded:
    return _by_holder(view, column, lambda _, pid: pid)


def _by_holder(view: Reading, column: Column, show: Callable[[str, int], Value]) -> Coded:
    from sockmon.kernel.owners import read_owners  # noqa: PLC0415 - see above

    inodes, codes = _distinct(column)
    found = read_owners(view.source.proc, inodes)
    if found.hidden:
        _hint_hidden(view, found.hidden, "owner")
    holders = (found.holders.get(inode) for inode in inodes)
    return _named(codes, [show(held[0].name, held[0].pid) if held else NONE for held in holders])


def _hint_hidden(view: Reading, processes: int, key: str) -> None:
    hint = (
        f"{processes} processes could not be read, so their sockets have {key} {NONE}: "
        "reading them needs root, or CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
    )
    view.hints[:] = dict.fromkeys([*view.hints, hint])


def _named(codes: Rows, names: Iterable[Value]) -> Coded:
    """Give equal names one code: a process has many inodes."""
    names = [*names]
    distinct = list(dict.fromkeys(names))
    place = {name: at for at, name in enumerate(distinct)}
    return Coded(np.array([place[name] for name in names], np.intp)[codes], distinct)


def _distinct(column: Column) -> tuple[list[int], Rows]:
    values, codes = np.unique(column, return_inverse=True)
    return values.tolist(), codes


def _inodes(part: Part, rows: Rows) -> Column:
    return part.table.inode[rows]


def _cgroups(part: Part, rows: Rows) -> Column:
    """Return each socket's cgroup id and inode."""
    return np.column_stack([part.table.cgroup_id[rows], part.table.inode[rows]])


#: The keys of --by.
KEYS: dict[str, Key] = {
    "state": Key(lambda part, rows: part.table.state[rows], _by_state),
    "port": Key(_ports, _by_port),
    "direction": Key(_directions, _by_direction),
    "listener": Key(_listeners, _by_word),
    "peer": Key(_peers, _by_peer),
    "owner": Key(_inodes, _by_owner),
    "pid": Key(_inodes, _by_pid),
    "unit": Key(_cgroups, _by_unit),
    "container": Key(_cgroups, _by_container),
    "protocol": Key(_protocols, _by_protocol),
    "family": Key(lambda part, rows: part.table.family[rows], _by_family),
    "netns": Key(lambda part, rows: np.full(rows.size, part.number, np.uint32), _by_netns),
}
