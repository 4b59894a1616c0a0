"""`sockmon count`: one poll, counted, as people count by hand with ss or netstat and awk."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import IO, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from sockmon.kernel import owners
from sockmon.kernel.errors import KernelError
from sockmon.kernel.namespaces import Neighbourhood
from sockmon.kernel.source import KernelSource, Source
from sockmon.model.limits import PortRange
from sockmon.model.roles import Listened, Roles, roles
from sockmon.model.states import STATE_SLOTS, Spelling, TcpState
from sockmon.model.table import Column, SocketTable, address
from sockmon.text import one_line
from sockmon.ui.colour import Paint, plain

Format = Literal["table", "json", "csv", "plain"]
Value = str | int
Rows = NDArray[np.intp]

#: What a socket has none of: a TIME_WAIT socket's owner, say.
NONE = "-"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which sockets to count; None for all. `port` is the port of the rule of roles."""

    state: TcpState | None = None
    port: int | None = None
    family: int | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """`groups` holds the keys' values and the count, most first; `hints` what was not seen."""

    keys: tuple[str, ...]
    groups: list[tuple[tuple[Value, ...], int]]
    hints: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Sockets counted."""
        return sum(count for _, count in self.groups)


def count(
    source: KernelSource,
    keys: tuple[str, ...],
    selection: Selection,
    spelling: Spelling,
    *,
    everywhere: bool = False,
) -> Counted:
    """Read the kernel once and count by the keys (of KEYS); raises KernelError.

    everywhere: in all network namespaces of the host, as far as they can be seen.
    """
    view = _View(source, spelling, everywhere=everywhere)
    rows = view.rows(selection)
    columns = [KEYS[key](view, rows) for key in keys]
    code = np.zeros(rows.size, np.intp)
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


class _Part(NamedTuple):
    """One namespace's sockets, and how its port range is read."""

    netns: str
    table: SocketTable
    port_range: Callable[[], PortRange]


class _View:
    """All sockets, and what is looked up about them only when a key asks."""

    def __init__(self, source: KernelSource, spelling: Spelling, *, everywhere: bool) -> None:
        self.source = source
        self.spelling = spelling
        self.hints: list[str] = []
        table = source.tcp(source.families())
        self.parts = [_Part(source.name, table, source.port_range)]
        if everywhere:
            self.parts = [self.parts[0]._replace(table=SocketTable.concatenate([table]))]
            self.parts += self._neighbours()
            table = SocketTable.concatenate([part.table for part in self.parts])
        self.table = table

    def _neighbours(self) -> Iterator[_Part]:
        """Read the host's other namespaces; what cannot be read costs a hint."""
        neighbourhood = Neighbourhood(self.source)
        try:
            for neighbour in neighbourhood.look():
                try:
                    if neighbour.occupied():
                        yield _copied(neighbour.open())
                except KernelError as error:
                    if error.reason != "gone":
                        self.hints.append(f"netns {neighbour.name}: {error}")
            self.hints += neighbourhood.unseen()
        finally:
            neighbourhood.close()

    @cached_property
    def roles(self) -> Roles:
        """The rule, applied in each namespace by itself."""
        of = [roles(t, Listened().seen(t), port_range()) for _, t, port_range in self.parts]
        return Roles(
            np.concatenate([part.is_listener for part in of]),
            np.concatenate([part.port for part in of]),
        )

    def rows(self, selection: Selection) -> Rows:
        table = self.table
        chosen = np.ones(len(table), np.bool_)
        if self.spelling != "sockmon":
            chosen &= table.state != TcpState.CLOSE  # neither ss nor netstat lists bound sockets
        if selection.state is not None:
            chosen &= table.state == selection.state
        if selection.family is not None:
            chosen &= table.family == selection.family
        if selection.port is not None:
            chosen &= self.roles.port == selection.port
        return np.flatnonzero(chosen)


def _copied(source: Source) -> _Part:
    """Read a namespace into memory of its own: the next one's dump takes the buffers again."""
    port_range = source.port_range()
    table = SocketTable.concatenate([source.tcp(source.families())])
    return _Part(source.name, table, lambda: port_range)


def _by_state(view: _View, rows: Rows) -> _Coded:
    names = [NONE] * STATE_SLOTS
    for state in TcpState:
        names[state] = state.spelled(view.spelling)
    return _Coded(view.table.state[rows].astype(np.intp), names)


def _by_port(view: _View, rows: Rows) -> _Coded:
    return _Coded(view.roles.port[rows].astype(np.intp), range(65536))


def _by_role(view: _View, rows: Rows) -> _Coded:
    return _Coded(view.roles.is_listener[rows].astype(np.intp), ("remote", "listener"))


def _by_family(view: _View, rows: Rows) -> _Coded:
    return _Coded((view.table.family[rows] == 6).astype(np.intp), ("ipv4", "ipv6"))


def _by_netns(view: _View, rows: Rows) -> _Coded:
    sizes = [len(part.table) for part in view.parts]
    codes = np.repeat(np.arange(len(sizes)), sizes)
    return _Coded(codes[rows], [part.netns for part in view.parts])


def _by_peer(view: _View, rows: Rows) -> _Coded:
    table = view.table
    words = np.column_stack([table.family[rows].astype(np.uint32), table.remote[rows]])
    distinct, codes = np.unique(words, axis=0, return_inverse=True)
    no_peer = {"0.0.0.0", "::"}  # noqa: S104 - a listener's remote address, not one of ours
    names = (str(address(int(row[0]), row[1:])) for row in distinct)
    return _named(codes.ravel(), [NONE if name in no_peer else name for name in names])


def _by_unit(view: _View, rows: Rows) -> _Coded:
    ids, codes = _distinct(view.table.cgroup_id[rows])
    paths = owners.read_cgroup_paths(view.source.proc, [i for i in ids if i])
    return _named(codes, [owners.unit_of(paths[i]) if i in paths else NONE for i in ids])


def _by_owner(view: _View, rows: Rows) -> _Coded:
    inodes, codes = _distinct(view.table.inode[rows])
    found = owners.read_owners(view.source.proc, inodes)
    if found.hidden:
        view.hints.append(
            f"{found.hidden} processes could not be looked into; what they hold has owner {NONE}: "
            "seeing it needs root, or CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
        )
    holders = (found.by_inode.get(inode) for inode in inodes)
    names = [f"{one_line(p.name, owners.NAME_SHOWN)}[{p.pid}]" if p else NONE for p in holders]
    return _named(codes, names)


def _named(codes: Rows, names: Sequence[str]) -> _Coded:
    """Put together what has one name: a process has many inodes."""
    distinct = list(dict.fromkeys(names))
    place = {name: at for at, name in enumerate(distinct)}
    return _Coded(np.array([place[name] for name in names], np.intp)[codes], distinct)


def _distinct(column: Column) -> tuple[list[int], Rows]:
    values, codes = np.unique(column, return_inverse=True)
    return values.tolist(), codes


#: What can be counted by.
KEYS: dict[str, Callable[[_View, Rows], _Coded]] = {
    "state": _by_state,
    "port": _by_port,
    "role": _by_role,
    "peer": _by_peer,
    "owner": _by_owner,
    "unit": _by_unit,
    "family": _by_family,
    "netns": _by_netns,
}


#: The one state that only this host's applications can end: many of another are no fault as such.
_CLOSE_WAIT = frozenset(TcpState.CLOSE_WAIT.spelled(tool) for tool in get_args(Spelling))


def write(
    counted: Counted, form: Format, taken_at: float, out: IO[str], paint: Paint = plain
) -> None:
    """Print in one of the formats; `taken_at` in Unix seconds. Only the table knows colours."""
    if form == "json":
        groups = [
            {**dict(zip(counted.keys, values, strict=True)), "count": n}
            for values, n in counted.groups
        ]
        answer = {"taken_at": taken_at, "total": counted.total, "groups": groups}
        json.dump(answer, out, indent=2)
        out.write("\n")
    elif form == "csv":
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([*counted.keys, "count"])
        writer.writerows([*values, n] for values, n in counted.groups)
    elif form == "plain":
        for values, n in counted.groups:
            words = ("_".join(str(value).split()) for value in values)  # a column each, for awk
            out.write(" ".join([*words, str(n)]) + "\n")
    else:
        _write_table(counted, out, paint)


def _write_table(counted: Counted, out: IO[str], paint: Paint) -> None:
    lines = [tuple(key.upper() for key in counted.keys)]
    lines += [tuple(map(str, values)) for values, _ in counted.groups]
    lines.append(("total", *[""] * (len(counted.keys) - 1)))
    numbers = ["SOCKETS", *(str(n) for _, n in counted.groups), str(counted.total)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    width = max(map(len, numbers))
    for at, (line, number) in enumerate(zip(lines, numbers, strict=True)):
        cells = [cell.ljust(size) for cell, size in zip(line, widths, strict=True)]
        text = "  ".join([*cells, number.rjust(width)])
        if at in {0, len(lines) - 1}:
            text = paint(text, "bold")
        elif dict(zip(counted.keys, line, strict=True)).get("state") in _CLOSE_WAIT:
            text = paint(text, "warning")
        out.write(text + "\n")
