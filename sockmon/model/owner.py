"""Who holds sockets: processes, owners, and groups of sockets by owner."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sockmon.model.direction import Direction
from sockmon.model.table import SocketTable
from sockmon.text import label

#: The number of an unknown owner.
UNKNOWN = 0
#: So many processes of an owner are named; the others are counted.
PROCESSES_NAMED = 20


class Group(NamedTuple):
    """Sockets of one (direction, port) that one owner holds.

    port: None stands for several ports. owner: its number among the Owners of the same poll;
    UNKNOWN for all that are not known. address: the service's local address, where several are
    listened on at this port and no unit holds them.
    """

    direction: Direction
    port: int | None
    owner: int
    address: str | None = None


class Manager(NamedTuple):
    """Who starts a unit or container again: `name` is a user's id, or a machine's name."""

    kind: Literal["system", "user", "machine", "docker", "podman", "kubelet", "containers"]
    name: str = ""


SYSTEM = Manager("system")


class Unit(NamedTuple):
    """A systemd unit or a container."""

    name: str
    manager: Manager = SYSTEM

    @property
    def title(self) -> str:
        """Its name, with whose it is: any user may call a unit of his own sshd.service."""
        if self.manager.kind in {"user", "containers"} and self.manager.name:
            return f"{self.name} of user {self.manager.name}"
        return self.name


class Halt(NamedTuple):
    """Why a process stands still: a signal, a debugger, its cgroup's freezer, or the kernel.

    tracer: the PID of the debugger, as far as that is known.
    """

    kind: Literal["stopped", "traced", "frozen", "uninterruptible"]
    tracer: int | None = None


@dataclass(frozen=True, slots=True)
class Process:
    """A process that holds sockets; its `name` (see program.py) is chosen by the process itself.

    started: seconds since the boot, which tells it from a later process of the same PID.
    unit: the systemd unit or container that it is in, manager: whose. fds, fd_limit: descriptors in
    use, and the soft limit; fd_hard_limit: as far as it may raise that itself; growth: more of them
    per second, None where that is not known. halt: why it stands still, if it does.
    """

    pid: int
    name: str
    fds: int | None = None
    fd_limit: int | None = None
    started: float | None = None
    unit: str | None = None
    growth: float | None = None
    fd_hard_limit: int | None = None
    manager: Manager = SYSTEM
    halt: Halt | None = None

    @property
    def owner(self) -> str:
        """Its unit or container, or else its own name."""
        return self.name if self.unit is None else Unit(self.unit, self.manager).title


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds sockets. `label` is fit for a metric: unit, container or program.

    processes: the first of those that hold the sockets, most sockets first; more: how many others.
    manager: who starts its unit again. absent: it is unknown, although no process was hidden.
    """

    label: str
    unit: str | None = None
    processes: tuple[Process, ...] = ()
    more: int = 0
    manager: Manager = SYSTEM
    absent: bool = False

    @property
    def name(self) -> str:
        """The full name, for a sentence; not escaped."""
        if self.unit is not None:
            return Unit(self.unit, self.manager).title
        return self.processes[0].name if self.processes else self.label

    @staticmethod
    def of(processes: tuple[Process, ...], more: int = 0) -> "Owner":
        """Return the owner of which these are processes: the first one's unit, or program."""
        first = processes[0]
        return Owner(label(first.owner), first.unit, processes, more, first.manager)


_HIDDEN, _ABSENT = Owner("unknown"), Owner("unknown", absent=True)


@dataclass(frozen=True, slots=True, eq=False)
class Owners:
    """Who holds which sockets, as far as that is known.

    known: the owner of number n is known[n - 1]. inode: sorted; holders: for each of them the place
    in `holdings`, which has an owner's number and all processes that share the socket.
    by_cgroup: owners' numbers by cgroup id, as far as a cgroup says who is in it. looked: processes
    were looked up, so that whoever is unknown was not found. pending: inodes whose holders are
    being looked up. by_group: owners of groups, with the processes that hold their sockets.
    saw_all: no process was hidden from the look.
    """

    known: tuple[Owner, ...] = ()
    inode: NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))
    holders: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))
    holdings: tuple[tuple[int, tuple[Process, ...]], ...] = ()
    by_cgroup: Mapping[int, int] = field(default_factory=dict)
    looked: bool = False
    pending: frozenset[int] = frozenset()
    by_group: Mapping[Group, Owner] = field(default_factory=dict)
    saw_all: bool = False

    @staticmethod
    def of(
        holders: Mapping[int, tuple[Process, ...]],
        units: Mapping[int, Unit | None],
        *,
        looked: bool = True,
        pending: Iterable[int] = (),
        saw_all: bool = False,
    ) -> "Owners":
        """Build it from the processes of each inode, first holder first, and cgroups' units."""
        numbers: dict[str, int] = {}
        known: list[Owner] = []

        def number(owner: Owner) -> int:
            # Alike in their labels is one and the same, in metrics and alerts too.
            if owner.label not in numbers:
                known.append(owner)
                numbers[owner.label] = len(known)
            return numbers[owner.label]

        places: dict[tuple[Process, ...], int] = {}
        holdings: list[tuple[int, tuple[Process, ...]]] = []
        inodes = sorted(inode for inode, processes in holders.items() if processes)
        at = np.empty(len(inodes), np.intp)
        for n, inode in enumerate(inodes):
            processes = holders[inode]
            if processes not in places:
                places[processes] = len(holdings)
                holdings.append((number(Owner.of(processes)), processes))
            at[n] = places[processes]
        by_cgroup = {
            cgroup_id: number(Owner(label(unit.title), unit.name, manager=unit.manager))
            for cgroup_id, unit in units.items()
            if unit
        }
        return Owners(
            tuple(known), np.array(inodes, np.uint32), at, tuple(holdings), by_cgroup, looked,
            frozenset(pending), saw_all=saw_all,
        )  # fmt: skip

    def numbers(self, table: SocketTable, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return the number of each row's owner: its holder's, else that of its cgroup."""
        ids, which = np.unique(table.cgroup_id[rows], return_inverse=True)
        by_id = np.array([self.by_cgroup.get(i, UNKNOWN) for i in ids.tolist()], np.int64)
        numbers: NDArray[np.int64] = by_id[which.ravel()]
        places = self._places(table.inode[rows])
        held = places >= 0
        if held.any():
            owner_of = np.array([number for number, _ in self.holdings], np.int64)
            numbers[held] = owner_of[self.holders[places[held]]]
        return numbers

    def processes(self, inodes: NDArray[np.uint32]) -> tuple[Process, ...]:
        """Return all processes that hold one of the sockets, most sockets first."""
        places = self._places(inodes)
        which, counts = np.unique(self.holders[places[places >= 0]], return_counts=True)
        held: dict[Process, int] = {}
        for place, count in zip(which.tolist(), counts.tolist(), strict=True):
            for process in self.holdings[place][1]:
                held[process] = held.get(process, 0) + count
        first = {process: n for n, process in enumerate(held)}
        return tuple(sorted(held, key=lambda process: (-held[process], first[process])))

    def by_inode(self, inodes: NDArray[np.uint32]) -> Mapping[int, tuple[Process, ...]]:
        """Return the processes that hold each of the sockets, of those that any holds."""
        places = self._places(inodes)
        held = places >= 0
        which = self.holders[places[held]].tolist()
        return {
            inode: self.holdings[at][1]
            for inode, at in zip(inodes[held].tolist(), which, strict=True)
        }

    def shared(self, inodes: NDArray[np.uint32]) -> int:
        """Return how many of the sockets are held by more than one process."""
        several = np.array([len(processes) > 1 for _, processes in self.holdings], np.bool_)
        places = self._places(inodes)
        return int(several[self.holders[places[places >= 0]]].sum()) if several.size else 0

    def get(self, group: Group) -> Owner | None:
        """Return a group's owner, with the processes that hold its sockets; None: not looked up."""
        if group in self.by_group:
            return self.by_group[group]
        if group.owner == UNKNOWN:
            return self._not_found()
        return self.known[group.owner - 1]

    def of_sockets(self, group: Group, inodes: NDArray[np.uint32]) -> Owner | None:
        """Return a group's owner, with the processes that hold these of its sockets."""
        owner, processes = self.get(group), self.processes(inodes)
        if owner is None or not processes:
            return owner
        more = max(0, len(processes) - PROCESSES_NAMED)
        return replace(owner, processes=processes[:PROCESSES_NAMED], more=more)

    def holding(self, inodes: NDArray[np.uint32]) -> Owner | None:
        """Return the owner of the processes that hold these sockets; None: not looked up."""
        processes = self.processes(inodes)
        if processes:
            more = max(0, len(processes) - PROCESSES_NAMED)
            return Owner.of(processes[:PROCESSES_NAMED], more)
        return self._not_found()

    def _not_found(self) -> Owner | None:
        if not self.looked:
            return None
        return _ABSENT if self.saw_all else _HIDDEN

    def _places(self, inodes: NDArray[np.uint32]) -> NDArray[np.intp]:
        """Return where each inode stands in `inode`; -1 for those that are not there."""
        if not self.inode.size:
            return np.full(inodes.size, -1, np.intp)
        at = np.minimum(np.searchsorted(self.inode, inodes), self.inode.size - 1)
        return np.where(self.inode[at] == inodes, at, -1)
