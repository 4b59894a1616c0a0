"""`sockmon count`: one poll, counted, as people count by hand with ss or netstat and awk.

What few calls need (owners, other namespaces) is imported by those that do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sockmon.kernel.errors import DumpError, KernelError
from sockmon.kernel.interfaces import Source
from sockmon.kernel.netlink.source import KernelSource
from sockmon.model.direction import Directions, Listened, directions
from sockmon.model.states import STATE_SLOTS, Spelling, TcpState
from sockmon.model.table import Column, address
from sockmon.text import one_line

if TYPE_CHECKING:
    from sockmon.kernel.netns.tracker import OtherNamespace

Value = str | int


@dataclass(frozen=True, slots=True)
class Counted:
    """groups: the keys' values and the count, largest first. hints: what was not seen, and why."""

    keys: tuple[str, ...]
    groups: list[tuple[tuple[Value, ...], int]]
    hints: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """All sockets that were counted."""
        return sum(count for _, count in self.groups)


Rows = NDArray[np.intp]

#: Stands for what a socket does not have, such as the owner of one in TIME_WAIT.
NONE = "-"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which sockets to count; None for all.

    port: as in Directions: a socket's local port if it is inbound, else its remote one.
    netns: the name of the only namespace to read.
    """

    state: TcpState | None = None
    port: int | None = None
    family: int | None = None
    netns: str | None = None


def count(
    source: KernelSource,
    keys: tuple[str, ...],
    selection: Selection,
    spelling: Spelling,
    *,
    everywhere: bool = False,
) -> Counted:
    """Read the kernel once and count by the keys (of KEYS); raises KernelError.

    everywhere: in all network namespaces of the host that can be read. Raises LookupError when the
    selected one is not among them.
    """
    view = _View(source, keys, selection, spelling)
    if everywhere:
        view.read_all()
    elif selection.netns in (None, source.name):
        view.read(source)
    else:
        raise LookupError(selection.netns)
    if not view.sockets:
        return Counted(keys, [], tuple(view.hints))
    columns = [KEYS[key].code(view, view.column(key)) for key in keys]
    code = np.zeros(view.sockets, np.intp)
    for column in columns:
        combined = code * max(1, len(column.values)) + column.codes
        _, code = np.unique(combined, return_inverse=True)  # small again: no product overflows
    _, first, counts = np.unique(code, return_index=True, return_counts=True)
    groups = [
        (tuple(column.values[column.codes[row]] for column in columns), n)
        for row, n in zip(first.tolist(), counts.tolist(), strict=True)
    ]
    groups.sort(key=lambda group: (-group[1], tuple(str(value) for value in group[0])))
    return Counted(keys, groups, tuple(view.hints))


class _Coded(NamedTuple):
    """One property of every chosen socket: `codes` index into `values`."""

    codes: Rows
    values: Sequence[Value]


class _Key(NamedTuple):
    """take: the column of the chosen rows, copied while their table is valid. code: its values."""

    take: Callable[["_Part", Rows], Column]
    code: Callable[["_View", Column], _Coded]


class _Part:
    """One namespace's sockets, valid until the next one's are read."""

    def __init__(self, source: Source, number: int) -> None:
        self._source = source
        self.number = number
        self.table = source.tcp(source.families())

    @cached_property
    def directions(self) -> Directions:
        """Each namespace's own: they depend on its listeners and its port range."""
        return directions(self.table, Listened().seen(self.table), self._source.port_range())

    def rows(self, selection: Selection, spelling: Spelling) -> Rows:
        table = self.table
        chosen = np.ones(len(table), np.bool_)
        if spelling != "sockmon":
            chosen &= table.state != TcpState.CLOSE  # neither ss nor netstat lists bound sockets
        if selection.state is not None:
            chosen &= table.state == selection.state
        if selection.family is not None:
            chosen &= table.family == selection.family
        if selection.port is not None:
            chosen &= self.directions.port == selection.port
        return np.flatnonzero(chosen)


class _View:
    """The columns that the keys need, of the chosen sockets of all namespaces."""

    def __init__(
        self, source: KernelSource, keys: tuple[str, ...], selection: Selection, spelling: Spelling
    ) -> None:
        self.source = source
        self.spelling = spelling
        self.hints: list[str] = []
        self.names: list[str] = []
        self.sockets = 0
        self._selection = selection
        self._taken: dict[str, list[Column]] = {key: [] for key in keys}

    def read(self, source: Source) -> None:
        """Read one namespace, and keep the columns; raises KernelError."""
        part = self._part(source)
        rows = part.rows(self._selection, self.spelling)
        columns = [KEYS[key].take(part, rows) for key in self._taken]
        for taken, column in zip(self._taken.values(), columns, strict=True):
            taken.append(column)
        self.names.append(source.name)
        self.sockets += rows.size

    def _part(self, source: Source) -> "_Part":
        """Read one namespace; the own one from /proc/net where sock_diag is refused."""
        number = len(self.names)
        try:
            return _Part(source, number)
        except DumpError as error:
            if not (error.is_refused and source is self.source):
                raise
        from sockmon.kernel.netns.fallback import with_fallback  # noqa: PLC0415 - see above

        fallback = with_fallback(self.source)
        part = _Part(fallback, number)
        self.hints += map(str, fallback.take_errors())
        return part

    def read_all(self) -> None:
        """Read all namespaces, or the selected one. What cannot be read of the others is a hint."""
        wanted = self._selection.netns
        if wanted in (None, self.source.name):
            self.read(self.source)
        if wanted == self.source.name:
            return
        from sockmon.kernel.netns.tracker import NamespaceTracker  # noqa: PLC0415 - see above

        tracker = NamespaceTracker(self.source)
        try:
            others = [one for one in tracker.look() if wanted in (None, one.name)]
            if wanted is not None and not others:
                raise LookupError(wanted)
            for other in others:
                self._read_other(other)
            self.hints += tracker.unseen()
        finally:
            tracker.close()

    def column(self, key: str) -> Column:
        """Return one key's column, of all namespaces in turn."""
        taken = self._taken[key]
        return taken[0] if len(taken) == 1 else np.concatenate(taken)

    def _read_other(self, other: "OtherNamespace") -> None:
        try:
            if other.occupied():
                self.read(other.open())
        except KernelError as error:
            if error.reason != "gone" and not other.hidden:  # unseen() reports those
                self.hints.append(f"netns {other.name}: {error}")
        finally:
            other.close()


def _by_state(view: _View, states: Column) -> _Coded:
    names = [NONE] * STATE_SLOTS
    for state in TcpState:
        names[state] = state.spelled(view.spelling)
    return _Coded(states.astype(np.intp), names)


def _by_port(_: _View, ports: Column) -> _Coded:
    return _Coded(ports.astype(np.intp), range(65536))


def _by_direction(_: _View, is_inbound: Column) -> _Coded:
    return _Coded(is_inbound.astype(np.intp), ("outbound", "inbound"))


def _by_family(_: _View, families: Column) -> _Coded:
    return _Coded((families == 6).astype(np.intp), ("ipv4", "ipv6"))


def _by_netns(view: _View, numbers: Column) -> _Coded:
    return _Coded(numbers.astype(np.intp), view.names)


def _peers(part: _Part, rows: Rows) -> Column:
    table = part.table
    return np.column_stack([table.family[rows].astype(np.uint32), table.remote[rows]])


def _by_peer(_: _View, peers: Column) -> _Coded:
    distinct, codes = np.unique(peers, axis=0, return_inverse=True)
    no_peer = {"0.0.0.0", "::"}  # noqa: S104 - a listener's remote address, not one of ours
    names = (str(address(int(row[0]), row[1:])) for row in distinct)
    return _named(codes.ravel(), [NONE if name in no_peer else name for name in names])


def _by_unit(view: _View, cgroup_ids: Column) -> _Coded:
    from sockmon.kernel.cgroups import read_cgroup_paths, unit_of  # noqa: PLC0415 - see above

    ids, codes = _distinct(cgroup_ids)
    paths = read_cgroup_paths(view.source.proc, [i for i in ids if i])
    return _named(codes, [unit_of(paths[i]) if i in paths else NONE for i in ids])


def _by_owner(view: _View, column: Column) -> _Coded:
    from sockmon.kernel.owners import read_owners  # noqa: PLC0415 - see above

    inodes, codes = _distinct(column)
    found = read_owners(view.source.proc, inodes)
    if found.hidden:
        view.hints.append(
            f"{found.hidden} processes could not be read, so their sockets have owner {NONE}: "
            "reading them needs root, or CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
        )
    holders = (found.holders.get(inode) for inode in inodes)
    names = [f"{one_line(held[0].name)}[{held[0].pid}]" if held else NONE for held in holders]
    return _named(codes, names)


def _named(codes: Rows, names: Sequence[str]) -> _Coded:
    """Give equal names one code: a process has many inodes."""
    distinct = list(dict.fromkeys(names))
    place = {name: at for at, name in enumerate(distinct)}
    return _Coded(np.array([place[name] for name in names], np.intp)[codes], distinct)


def _distinct(column: Column) -> tuple[list[int], Rows]:
    values, codes = np.unique(column, return_inverse=True)
    return values.tolist(), codes


#: The keys of --by.
KEYS: dict[str, _Key] = {
    "state": _Key(lambda part, rows: part.table.state[rows], _by_state),
    "port": _Key(lambda part, rows: part.directions.port[rows], _by_port),
    "direction": _Key(lambda part, rows: part.directions.is_inbound[rows], _by_direction),
    "peer": _Key(_peers, _by_peer),
    "owner": _Key(lambda part, rows: part.table.inode[rows], _by_owner),
    "unit": _Key(lambda part, rows: part.table.cgroup_id[rows], _by_unit),
    "family": _Key(lambda part, rows: part.table.family[rows], _by_family),
    "netns": _Key(lambda part, rows: np.full(rows.size, part.number, np.uint32), _by_netns),
}
