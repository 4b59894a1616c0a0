"""Both ends of a connection in one table: loopback, and addresses of this host."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sockmon.model.distinct import distinct_rows
from sockmon.model.states import RESTING_STATES
from sockmon.model.table import Column, SocketTable

_LOOPBACK_NETWORK = 127
_END = np.dtype(
    [("family", "u1"), ("local", "u4", 4), ("port", "=u2"), ("remote", "u4", 4), ("far", "=u2")]
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
    here = ends(table, candidates)
    order = np.argsort(here, kind="stable")
    mirrored = _keys(table, rows, "remote", "local")
    if not candidates.size:
        return np.full(rows.size, -1, np.intp)
    at = np.minimum(np.searchsorted(here[order], mirrored), candidates.size - 1)
    found = candidates[order[at]]
    return np.where(here[order[at]] == mirrored, found, -1)


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
    candidates = np.flatnonzero(
        ~np.isin(table.state, RESTING_STATES) & np.isin(table.local[:, 3], remote[:, 3])
    )
    candidates = candidates[np.isin(table.local[candidates, 0], remote[:, 0])]
    if candidates.size:
        own = distinct_rows(np.ascontiguousarray(table.local[candidates]))
        known = {words.tobytes() for words in own} - {bytes(16)}
        here |= np.array([words.tobytes() in known for words in remote], np.bool_)
    return here


def ends(table: SocketTable, rows: NDArray[np.intp]) -> NDArray[Any]:
    """Return the addresses and ports of both ends of each row, as one value to compare and sort."""
    return _keys(table, rows, "local", "remote")


def _keys(table: SocketTable, rows: NDArray[np.intp], near: str, far: str) -> NDArray[Any]:
    """Return each row's ends as bytes that compare as a whole."""
    keys = np.zeros(rows.size, _END)
    keys["family"] = table.family[rows]
    column: dict[str, Column] = {
        "local": getattr(table, near),
        "port": getattr(table, f"{near}_port"),
        "remote": getattr(table, far),
        "far": getattr(table, f"{far}_port"),
    }
    for name, values in column.items():
        keys[name] = values[rows]
    return keys.view(f"V{_END.itemsize}")
