"""`sockmon count`: one poll, counted, as people count by hand with ss or netstat and awk.

What few calls need (other namespaces) is imported by those that do.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sockmon.kernel.errors import DumpError, KernelError
from sockmon.kernel.interfaces import Source
from sockmon.kernel.netlink.source import KernelSource
from sockmon.model.states import NOT_LISTED, Spelling, TcpState
from sockmon.model.table import Column
from sockmon.poll.count_keys import KEYS, Part, Rows, SocketKind, Value, Words

if TYPE_CHECKING:
    from sockmon.kernel.netns.tracker import OtherNamespace


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


@dataclass(frozen=True, slots=True)
class Selection:
    """Which sockets to count; None for all.

    port: as in Directions: a socket's local port if it is inbound, else its remote one.
    netns: the name of the only namespace to read. protocols: with tcp its MPTCP connections.
    """

    state: TcpState | None = None
    port: int | None = None
    family: int | None = None
    netns: str | None = None
    protocols: tuple[SocketKind, ...] = ("tcp",)


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


class _View:
    """The columns that the keys need, of the chosen sockets of all namespaces."""

    def __init__(
        self, source: KernelSource, keys: tuple[str, ...], selection: Selection, spelling: Spelling
    ) -> None:
        self.source = source
        self.spelling = spelling
        self.hints: list[str] = []
        self.names: list[str] = []
        self.words = Words()
        self.sockets = 0
        self._selection = selection
        self._taken: dict[str, list[Column]] = {key: [] for key in keys}

    def read(self, source: Source) -> None:
        """Read one namespace, and keep the columns; raises KernelError."""
        kinds = dict.fromkeys(
            "tcp" if kind == "mptcp" and "tcp" in self._selection.protocols else kind
            for kind in self._selection.protocols
        )
        for kind in kinds:
            part = self._part(source, kind)
            rows = self._rows(part)
            columns = [KEYS[key].take(part, rows) for key in self._taken]
            for taken, column in zip(self._taken.values(), columns, strict=True):
                taken.append(column)
            self.sockets += rows.size
        self.names.append(source.name)
        if "tcp" in kinds and self._selection.state is TcpState.CLOSE and not source.lists_bound():
            self.hints = [*dict.fromkeys((*self.hints, NOT_LISTED))]

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

    def _part(self, source: Source, kind: SocketKind) -> Part:
        """Read one kind of one namespace; of the own from /proc/net where sock_diag is refused."""
        number = len(self.names)
        try:
            return Part.read(source, number, kind, self.words)
        except DumpError as error:
            if not (error.is_refused and self.source.is_live and source is self.source):
                raise
            refused = error
        from sockmon.kernel.fallback import FallbackSource  # noqa: PLC0415 - see above

        fallback = FallbackSource(self.source, refused)
        part = Part.read(fallback, number, kind, self.words)
        self.hints += map(str, fallback.take_errors())
        return part

    def _rows(self, part: Part) -> Rows:
        table, selection = part.table, self._selection
        chosen = np.ones(len(table), np.bool_)
        if self.spelling != "sockmon" and part.kind == "tcp":
            chosen &= table.state != TcpState.CLOSE  # neither ss nor netstat lists bound sockets
        if part.kind == "mptcp":
            chosen &= table.multipath
        if selection.state is not None:
            chosen &= table.state == selection.state
        if selection.family is not None:
            chosen &= table.family == selection.family
        if selection.port is not None:
            served = part.directions.port == selection.port if part.kind != "unix" else False
            chosen &= served
        return np.flatnonzero(chosen)

    def _read_other(self, other: "OtherNamespace") -> None:
        try:
            if other.occupied() or "unix" in self._selection.protocols:
                self.read(other.open())
        except KernelError as error:
            if error.reason != "gone" and not other.hidden:  # unseen() reports those
                self.hints.append(f"netns {other.name}: {error}")
        finally:
            other.close()
