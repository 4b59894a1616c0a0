"""What this host's sockets say of a traced connection. Not pure: it asks the kernel."""

import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sockmon.kernel.cgroups import owning_unit, read_cgroup_paths
from sockmon.kernel.errors import KernelError
from sockmon.kernel.netlink.source import KernelSource
from sockmon.kernel.owners import read_owners
from sockmon.model.ages import NO_AGES
from sockmon.model.segments import port_of
from sockmon.model.states import TcpState
from sockmon.model.table import SocketTable
from sockmon.text import one_line
from sockmon.trace.connection import SERVER, Connection
from sockmon.trace.facts import NO_FACTS, Facts
from sockmon.trace.verdict import Verdict

#: A dump of the table, or a look at all processes, is made again after this many seconds, or this
#: many times as long as the last one took: on a large host neither takes more than 5 % of a core.
_DUMP_AGAIN = 0.2
_LOOK_AGAIN = 0.5
_TIMES_AS_LONG = 20
#: Owners that are remembered.
_MOST_OWNERS = 10_000
_IPV4 = slice(12, 16)


class HostSockets:
    """Asks one namespace. What cannot be read adds nothing."""

    def __init__(self, source: KernelSource) -> None:
        self._source = source
        self._table: SocketTable | None = None
        self._dump_after = self._look_after = float("-inf")
        self._owners: dict[int, str] = {}
        self._settings: tuple[int, int] | None = None

    def listening_ports(self) -> frozenset[int]:
        """Return the ports on which this host listens."""
        try:
            table = self._read()
        except KernelError:
            return frozenset()
        return frozenset(table.local_port[table.state == TcpState.LISTEN].tolist())

    def facts(self, connection: Connection, verdict: Verdict) -> Facts:
        """Return who holds the connection's ends, and what else the verdict leaves open."""
        try:
            return self._facts(connection, verdict)
        except KernelError:
            return NO_FACTS

    def _facts(self, connection: Connection, verdict: Verdict) -> Facts:
        if verdict.how in {"no_answer", "refused"}:
            retries, linear = self._retries()
            return Facts(syn_retries=retries, syn_linear_timeouts=linear)
        table = self._read()
        rows = [_row(table, connection.names[side], connection.names[1 - side]) for side in (0, 1)]
        client, server = (None if row is None else self._owner(table, row) for row in rows)
        if server is None:  # it is gone, or new: most likely its listener's process has it
            row = _listener(table, port_of(connection.names[SERVER]))
            server = None if row is None else self._owner(table, row)
        facts = Facts(client, server)
        if verdict.how == "half_closed":
            waiting = rows[0 if verdict.first == "server" else 1]
            if waiting is not None and table.state[waiting] == TcpState.CLOSE_WAIT:
                return self._of_close_wait(facts, table, waiting)
        return facts

    def _of_close_wait(self, facts: Facts, table: SocketTable, row: int) -> Facts:
        """Add what is unread, and how many others of this port wait as this one does."""
        alike = (table.state == TcpState.CLOSE_WAIT) & (table.local_port == table.local_port[row])
        alike[row] = False
        others = np.flatnonzero(alike)
        unread = int(table.receive_queue[row])
        if not others.size:
            return replace(facts, unread=unread)
        now = time.monotonic()
        cookies = table.cookie[others]
        aged = NO_AGES.seen(table, self._source.last_heard(self._source.families()), now)
        oldest = now - float(aged.since[np.isin(aged.cookie, cookies)].min(initial=now))
        return replace(facts, unread=unread, others=int(others.size), oldest=oldest)

    def _read(self) -> SocketTable:
        """Return the table, as new as its cost allows."""
        now = time.monotonic()
        if self._table is None or now >= self._dump_after:
            self._table = self._source.tcp(self._source.families())
            took = time.monotonic() - now
            self._dump_after = now + max(_DUMP_AGAIN, _TIMES_AS_LONG * took)
        return self._table

    def _retries(self) -> tuple[int | None, int]:
        if self._settings is None:
            settings = self._source.limits()[0].settings
            if settings is None:
                return None, 0
            self._settings = (settings.syn_retries, settings.syn_linear_timeouts)
        return self._settings

    def _owner(self, table: SocketTable, row: int) -> str | None:
        """Return process and unit, as far as they are known."""
        inode = int(table.inode[row])
        if not inode:
            return None  # a socket that no process holds any more
        if inode not in self._owners:
            now = time.monotonic()
            if now < self._look_after:
                return None
            self._look(table)
            took = time.monotonic() - now
            self._look_after = now + max(_LOOK_AGAIN, _TIMES_AS_LONG * took)
        return self._owners.get(inode)

    def _look(self, table: SocketTable) -> None:
        """Look into all processes once, for all listeners and sockets in CLOSE_WAIT."""
        wanted = np.isin(table.state, (TcpState.LISTEN, TcpState.CLOSE_WAIT, TcpState.ESTABLISHED))
        rows = np.flatnonzero(wanted & (table.inode != 0))[:_MOST_OWNERS]
        inodes = table.inode[rows].tolist()
        held = read_owners(self._source.proc, inodes).holders
        ids = table.cgroup_id[rows].tolist()
        units = read_cgroup_paths(self._source.proc, [number for number in set(ids) if number])
        if len(self._owners) > _MOST_OWNERS:
            self._owners.clear()
        for inode, number in zip(inodes, ids, strict=True):
            names = [f"{one_line(process.name)}[{process.pid}]" for process in held.get(inode, ())]
            unit = owning_unit(units[number]) if number in units else None
            known = [*names[:1], *([unit] if unit else [])]
            if known:
                self._owners[inode] = ", ".join(known)


def _row(table: SocketTable, local: bytes, remote: bytes) -> int | None:
    """Return the row of a connection's end, if it is in this namespace."""
    chosen = np.flatnonzero(
        (table.local_port == port_of(local)) & (table.remote_port == port_of(remote))
    )
    for row in chosen.tolist():
        if _has(table.local[row], local) and _has(table.remote[row], remote):
            return int(row)
    return None


def _has(words: NDArray[np.uint32], end: bytes) -> bool:
    octets = words.tobytes()
    if end.startswith(bytes(10) + b"\xff\xff"):
        return octets[:4] == end[_IPV4] and not any(octets[4:])
    return octets == end[:16]


def _listener(table: SocketTable, port: int) -> int | None:
    rows = np.flatnonzero((table.state == TcpState.LISTEN) & (table.local_port == port))
    return int(rows[0]) if rows.size else None
