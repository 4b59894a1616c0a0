"""How many sockets: by family and state, and by (direction, port) and state."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sockmon.model.direction import Direction, Directions
from sockmon.model.states import STATE_SLOTS, TcpState
from sockmon.model.table import Column, SocketTable

#: Sockets by state number; index 0 is unused.
StateCounts = tuple[int, ...]

_PORT_BITS = 16


def by_family(table: SocketTable) -> dict[int, StateCounts]:
    """Count by family (4, 6) and state."""
    keys = table.state + (table.family == 6) * np.uint8(STATE_SLOTS)
    counts = np.bincount(keys, minlength=2 * STATE_SLOTS).reshape(2, STATE_SLOTS).tolist()
    return {4: tuple(counts[0]), 6: tuple(counts[1])}


@dataclass(frozen=True, slots=True)
class GroupKey:
    """A (direction, port) group; port None stands for all groups that are not shown one by one."""

    direction: Direction
    port: int | None


@dataclass(frozen=True, slots=True)
class PortGroup:
    """The sockets of one (direction, port) by state; queues in bytes, listeners left out."""

    key: GroupKey
    states: Mapping[TcpState, int]
    receive_queue: int
    send_queue: int


@dataclass(frozen=True, slots=True)
class Groups:
    """Every (direction, port) of a table, as columns.

    codes     uint32  sorted; see key()
    states    int64   groups x STATE_SLOTS
    receive_queue, send_queue  int64 bytes
    """

    codes: NDArray[np.uint32]
    states: NDArray[np.int64]
    receive_queue: NDArray[np.int64]
    send_queue: NDArray[np.int64]

    def key(self, row: int) -> GroupKey:
        """Return the group's (direction, port)."""
        code = int(self.codes[row])
        return GroupKey(
            "outbound" if code >> _PORT_BITS else "inbound", code & (1 << _PORT_BITS) - 1
        )

    def of_direction(self, direction: Direction) -> NDArray[np.bool_]:
        """Mask over the groups: those of one direction."""
        is_remote = self.codes >= np.uint32(1 << _PORT_BITS)
        return is_remote if direction == "outbound" else ~is_remote

    def rows(self, keys: list[GroupKey]) -> list[int | None]:
        """Find each key's row; None for a group that has no socket now."""
        wanted = [(key.direction == "outbound") << _PORT_BITS | (key.port or 0) for key in keys]
        at = np.searchsorted(self.codes, np.array(wanted, np.uint32))
        return [
            row if row < len(self.codes) and self.codes[row] == code else None
            for row, code in zip(at.tolist(), wanted, strict=True)
        ]


def by_direction_and_port(table: SocketTable, directions: Directions) -> Groups:
    """Count every socket once, under its (direction, port)."""
    code = directions.port.astype(np.uint32)
    code |= ~directions.is_inbound * np.uint32(1 << _PORT_BITS)
    there = np.zeros(2 << _PORT_BITS, np.bool_)
    there[code] = True
    codes = np.flatnonzero(there).astype(np.uint32)
    row = np.cumsum(there, dtype=np.int32) - 1
    # Sorting would cost more, and so would a count of each code and state that could be.
    keys = row[code] * np.int32(STATE_SLOTS) + table.state
    states = np.bincount(keys, minlength=codes.size * STATE_SLOTS).reshape(-1, STATE_SLOTS)
    return Groups(
        codes,
        states,
        _sum_by_code(codes, code, table, table.receive_queue),
        _sum_by_code(codes, code, table, table.send_queue),
    )


def sum_of(first: Groups, second: Groups) -> Groups:
    """Add the sockets of two tables that have none in common."""
    codes, row = np.unique(np.concatenate([first.codes, second.codes]), return_inverse=True)

    def added(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
        total = np.zeros((codes.size, *one.shape[1:]), np.int64)
        np.add.at(total, row, np.concatenate([one, other]))
        return total

    return Groups(
        codes,
        added(first.states, second.states),
        added(first.receive_queue, second.receive_queue),
        added(first.send_queue, second.send_queue),
    )


def difference(all_of: Groups, part: Groups) -> Groups:
    """Take away sockets that are among those of the first."""
    at = np.searchsorted(all_of.codes, part.codes)
    states, receive_queue, send_queue = (
        column.copy() for column in (all_of.states, all_of.receive_queue, all_of.send_queue)
    )
    states[at] -= part.states
    receive_queue[at] -= part.receive_queue
    send_queue[at] -= part.send_queue
    left = states.any(axis=1)
    return Groups(all_of.codes[left], states[left], receive_queue[left], send_queue[left])


def _sum_by_code(
    codes: NDArray[np.uint32], code: Column, table: SocketTable, queue: Column
) -> NDArray[np.int64]:
    """Sum a queue over the sockets that have something in it: few, as a rule."""
    rows = np.flatnonzero(queue)
    rows = rows[table.state[rows] != TcpState.LISTEN]  # a listener's queues count connections
    groups = np.searchsorted(codes, code[rows])
    # float64 is exact up to 2**53 bytes
    return np.bincount(groups, queue[rows], codes.size).astype(np.int64)
