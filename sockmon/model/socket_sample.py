"""What is kept of a poll's sockets until the next one, so that a reader can look into any group.

Of a table with more than SAMPLED sockets only every n-th is kept: its figures are estimates, whose
standard error for a share p is about sqrt(p * (1 - p) / SAMPLED).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sockmon.model.ages import AGE_BOUNDS, Aged
from sockmon.model.direction import Direction, Directions
from sockmon.model.states import STATE_SLOTS, TcpState
from sockmon.model.table import IPAddress, SocketTable, address

Rows = NDArray[np.intp]

#: Sockets that are kept of a namespace: 33 bytes each.
SAMPLED = 4096

_PEER = np.dtype((np.void, 17))  # family and address
_COLUMNS = ("family", "remote", "cgroup_id")


@dataclass(frozen=True, slots=True)
class SocketSample:
    """Sockets as columns; each stands for `one_in` of the namespace.

    age: seconds in the state, NaN where it is not known. owners: by cgroup id, None: not known.
    """

    one_in: int
    state: NDArray[np.uint8]
    is_inbound: NDArray[np.bool_]
    port: NDArray[np.uint16]
    family: NDArray[np.uint8]
    remote: NDArray[np.uint32]
    cgroup_id: NDArray[np.uint64]
    age: NDArray[np.float32]
    owners: Mapping[int, str | None] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        table: SocketTable,
        directions: Directions,
        aged: Aged,
        now: float,
        owners: Mapping[int, str | None],
    ) -> "SocketSample":
        """Copy what is kept of a table that was read whole; now: in monotonic seconds."""
        one_in = -(-len(table) // SAMPLED) or 1
        rows = slice(None, None, one_in)
        state = table.state[rows].copy()
        known = aged.rows % one_in == 0
        age = np.full(state.size, np.nan, np.float32)
        age[aged.rows[known] // one_in] = now - aged.since[known]
        kept = {name: getattr(table, name)[rows].copy() for name in _COLUMNS}
        return cls(
            one_in,
            is_inbound=directions.is_inbound[rows].copy(),
            port=directions.port[rows].copy(),
            state=state,
            age=age,
            owners=owners,
            **kept,
        )

    def rows(
        self,
        direction: Direction | None = None,
        port: int | None = None,
        owner: str | None = None,
        peer: IPAddress | None = None,
    ) -> Rows:
        """Return the rows that have all of these."""
        mask = np.ones(self.state.size, np.bool_)
        if direction is not None:
            mask &= self.is_inbound == (direction == "inbound")
        if port is not None:
            mask &= self.port == port
        if owner is not None:
            ids = [cgroup for cgroup, name in self.owners.items() if name == owner]
            mask &= np.isin(self.cgroup_id, np.array(ids, np.uint64))
        if peer is not None:
            words = np.zeros(4, np.uint32)
            packed = np.frombuffer(peer.packed, np.uint32)
            words[: packed.size] = packed
            mask &= (self.family == peer.version) & (self.remote == words).all(axis=1)
        return np.flatnonzero(mask)

    def states(self, rows: Rows) -> Mapping[TcpState, int]:
        """Count by state, those that occur; estimated, as all figures are."""
        counted = np.bincount(self.state[rows], minlength=STATE_SLOTS) * self.one_in
        return {state: n for state in TcpState if (n := int(counted[state]))}

    def ages(self, rows: Rows) -> Mapping[TcpState, tuple[int, ...]]:
        """Count by state between AGE_BOUNDS, as ages.count_by_age() does; of known ages."""
        known = rows[~np.isnan(self.age[rows])]
        found = {}
        for state in sorted(set(self.state[known].tolist())):
            places = np.searchsorted(AGE_BOUNDS, self.age[known[self.state[known] == state]])
            counted = np.bincount(places, minlength=len(AGE_BOUNDS) + 1) * self.one_in
            found[TcpState(state)] = tuple(counted.tolist())
        return found

    def by_peer(self, rows: Rows, most: int) -> Iterator[tuple[IPAddress, Rows]]:
        """Yield the addresses with most of these sockets, and their rows; listeners have none."""
        rows = rows[self.state[rows] != TcpState.LISTEN]
        keys = np.empty((rows.size, 17), np.uint8)
        keys[:, 0] = self.family[rows]
        keys[:, 1:] = self.remote[rows].view(np.uint8).reshape(rows.size, 16)
        for part in _largest(keys.view(_PEER).ravel(), rows, most):
            first = part[0]
            yield address(int(self.family[first]), self.remote[first]), part

    def by_port(self, rows: Rows, most: int) -> Iterator[tuple[Direction, int, Rows]]:
        """Yield the directions and ports with most of these sockets, and their rows."""
        codes = self.port[rows].astype(np.uint32) | (~self.is_inbound[rows] * np.uint32(1 << 16))
        for part in _largest(codes, rows, most):
            direction: Direction = "inbound" if self.is_inbound[part[0]] else "outbound"
            yield direction, int(self.port[part[0]]), part

    def by_owner(self, rows: Rows, most: int) -> Iterator[tuple[str, Rows]]:
        """Yield the owners with most of these sockets, and their rows, as far as they are known."""
        ids = self.cgroup_id[rows]
        parts: dict[str, list[Rows]] = {}
        for part in _largest(ids, rows, rows.size):
            name = self.owners.get(int(self.cgroup_id[part[0]]))
            if name is not None:
                parts.setdefault(name, []).append(part)
        joined = [(name, np.concatenate(each)) for name, each in parts.items()]
        yield from sorted(joined, key=lambda item: -item[1].size)[:most]


def _largest(keys: NDArray[np.generic], rows: Rows, most: int) -> Iterator[Rows]:
    """Yield the rows of one key each, those of the most frequent first."""
    if not rows.size:
        return
    _, place = np.unique(keys, return_inverse=True)
    order = np.argsort(place, kind="stable")
    counts = np.bincount(place)
    ends = np.cumsum(counts)
    for at in np.argsort(-counts, kind="stable")[:most].tolist():
        yield rows[order[ends[at] - counts[at] : ends[at]]]
