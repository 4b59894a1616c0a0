"""Words and evidence that several diagnoses share."""

import re
import shlex
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from sockmon.model.detector_input import Rates
from sockmon.model.direction import Direction
from sockmon.model.owner import Group, Owner
from sockmon.model.table import SocketTable
from sockmon.text import one_line

#: As owners name containers: the first characters of their id.
_CONTAINER = re.compile(r"[0-9a-f]{12}")


def percent(ratio: float) -> str:
    """0.8 -> 80 %."""
    return f"{100 * ratio:.0f} %"


def who(owner: Owner | None) -> str:
    """Name whoever holds a group's sockets, for a sentence."""
    if owner is None or not (owner.unit or owner.processes):
        return "an unknown process"
    return owner.label


def first_aid(owner: Owner | None) -> str:
    """Say how to restart whoever holds a group's sockets, or else how to find out who does."""
    if owner is not None and (owner.unit or owner.processes):
        return f"First aid: {_restart(owner)}; it loses its other connections too."
    return (
        "To see which process it is: run sockmon doctor as root, or give the daemon the owners "
        "drop-in (deploy/README.md)."
    )


def _restart(owner: Owner) -> str:
    if owner.unit is not None and owner.unit.endswith(".service"):
        return f"systemctl restart {shlex.quote(owner.unit)}"
    if owner.unit is not None and _CONTAINER.fullmatch(owner.unit):
        return f"restart container {owner.unit}"
    if not owner.processes:
        return f"restart {owner.label}"
    pids = ", ".join(str(process.pid) for process in owner.processes)
    noun = "PID" if len(owner.processes) == 1 else "PIDs"
    return f"restart {one_line(owner.processes[0].name)}, {noun} {pids}"


def place(group: Group) -> str:
    """Return what the group's sockets are to this host."""
    if group.direction == "inbound":
        return f"accepted on port {group.port}"
    return f"made to port {group.port} elsewhere"


def only(direction: Direction, port: int) -> str:
    """Return the ss filter for the sockets of a (direction, port), quoted for a shell."""
    return f"'( {'sport' if direction == 'inbound' else 'dport'} = :{port} )'"


def inodes(table: SocketTable, rows: NDArray[np.intp]) -> tuple[int, ...]:
    """Return the inodes of those that a process still holds."""
    return tuple(inode for inode in table.inode[rows].tolist() if inode)


def per_second(rates: Rates, names: Iterable[str]) -> Mapping[str, float]:
    """Return the kernel's counters of these names, as far as their rates are known."""
    return {name: round(rates.events[name], 2) for name in names if name in rates.events}
