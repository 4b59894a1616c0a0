"""Words and evidence that several diagnoses share."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from sockmon.durations import format_duration
from sockmon.model.finding import Group
from sockmon.model.roles import Role
from sockmon.model.sight import Rates
from sockmon.model.table import SocketTable


def percent(ratio: float) -> str:
    """0.8 -> 80 %."""
    return f"{100 * ratio:.0f} %"


def lasting(seconds: float) -> str:
    """Return a duration to the second: 1m30s."""
    return format_duration(round(seconds))


def place(group: Group) -> str:
    """Return what the group's sockets are to this host."""
    if group.role == "listener":
        return f"accepted on port {group.port}"
    return f"made to port {group.port} elsewhere"


def only(role: Role, port: int) -> str:
    """Return the filter by which ss shows the sockets of a (role, port), quoted for a shell."""
    return f"'( {'sport' if role == 'listener' else 'dport'} = :{port} )'"


def inodes(table: SocketTable, rows: NDArray[np.intp]) -> tuple[int, ...]:
    """Return the inodes of those that a process still holds."""
    return tuple(inode for inode in table.inode[rows].tolist() if inode)


def per_second(rates: Rates, names: Iterable[str]) -> Mapping[str, float]:
    """Return the kernel's counters of these names, as far as their rates are known."""
    return {name: round(rates.events[name], 2) for name in names if name in rates.events}
