"""Both ends of a connection in one table: loopback, and addresses of this host."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sockmon.model.distinct import kinds
from sockmon.model.states import RESTING_STATES
from sockmon.model.table import Column, SocketTable, address, words_of

_LOOPBACK_NETWORK = 127
_END = np.dtype(
    [
        ("family", "u1"),
        ("local", "u4", 4),
        ("local_port", "=u2"),
        ("remote", "u4", 4),
        ("remote_port", "=u2"),
    ]
)


def other_end(table: SocketTable, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return, for each of the rows, the row of the socket at the other end; -1 if it is not here.

    The other end has the same two addresses and ports, exchanged. Costs a pass over the ports of
    the whole table, and a search among those that can match.
    """
    if not rows.size:
        return np.empty(0, np.intp)
    wanted = np.zeros(1 << 16, np.bool_)
    wanted[table.remote_port[rows]] = True
    far = np.zeros(1 << 16, np.bool_)
    far[table.local_port[rows]] = True
    candidates = np.flatnonzero(wanted[table.local_port] & far[table.remote_port])

    def with_other(here: Column, there: Column) -> Column:
        return np.concatenate([here[candidates], there[rows]])

    family = with_other(table.family, table.family)
    words = words_of(family)
    which = kinds(
        family,
        with_other(table.local_port, table.remote_port),
        with_other(table.remote_port, table.local_port),
        *(with_other(table.local[:, word], table.remote[:, word]) for word in words),
        *(with_other(table.remote[:, word], table.local[:, word]) for word in words),
    ).which
    at = np.full(which.size, -1, np.intp)
    at[which[: candidates.size][::-1]] = candidates[::-1]  # the first of several
    return at[which[candidates.size :]]


def mostly_here(table: SocketTable, rows: NDArray[np.intp]) -> bool:
    """Whether most of the rows' remote addresses are of this host: advice is for one place."""
    return 2 * int(to_this_host(table, rows).sum()) > rows.size


def to_this_host(table: SocketTable, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Mask over the rows: those whose remote address is one of this host.

    That is a loopback address, or the local address of the same socket, which the kernel chooses
    for a destination here, or of a socket that is not at rest: in a table of a part of the sockets
    the answer is the same.
    """
    remote, family = table.remote[rows], table.family[rows]
    bytes_ = remote.view(np.uint8).reshape(-1, 16)
    here: NDArray[np.bool_] = (family == 4) & (bytes_[:, 0] == _LOOPBACK_NETWORK)
    here |= (family == 6) & (bytes_[:, :15] == 0).all(axis=1) & (bytes_[:, 15] == 1)
    here |= (remote == table.local[rows]).all(axis=1) & remote.any(axis=1)
    own = table.local[np.flatnonzero(~np.isin(table.state, RESTING_STATES))]
    own = own[own.any(axis=1)]
    which = kinds(*np.concatenate([own, remote]).T).which
    is_own = np.zeros(which.size, np.bool_)
    is_own[which[: len(own)]] = True
    return here | is_own[which[len(own) :]]


def is_here(table: SocketTable, family: int, words: bytes) -> bool:
    """Whether an address, as a Place has it, is one of this host: loopback, or a socket's own."""
    own = (table.family == family) & (table.local == np.frombuffer(words, np.uint32)).all(axis=1)
    return address(family, np.frombuffer(words, np.uint32)).is_loopback or bool(own.any())


def ends(table: SocketTable, rows: NDArray[np.intp]) -> NDArray[Any]:
    """Return the addresses and ports of both ends of each row, as one value to compare and sort."""
    keys = np.zeros(rows.size, _END)
    for name in _END.names or ():
        keys[name] = getattr(table, name)[rows]
    return keys.view(f"V{_END.itemsize}")
