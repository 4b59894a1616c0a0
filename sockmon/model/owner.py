"""Who holds sockets: groups, processes, owners."""

from dataclasses import dataclass
from typing import NamedTuple

from sockmon.model.direction import Direction


class Group(NamedTuple):
    """Sockets of one (direction, port) in one cgroup: one service's, as a rule. 0: in none."""

    direction: Direction
    port: int
    cgroup_id: int


@dataclass(frozen=True, slots=True)
class Process:
    """A process that holds sockets; `name` is its own choice: show it, never trust it.

    `started` (Unix seconds) tells it from a later process of the same PID.
    """

    pid: int
    name: str
    fds: int | None = None
    fd_limit: int | None = None
    started: float | None = None


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds a group's sockets. `label` is fit for a metric: unit, container or process name."""

    label: str
    unit: str | None = None
    processes: tuple[Process, ...] = ()
