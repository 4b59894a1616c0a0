"""Both ends of a connection in one table: loopback, and addresses of this host."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sockmon.model.table import Column, SocketTable

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
