"""The host's other network namespaces: named for people, entered, followed as they come and go."""

from collections.abc import Callable, Collection
from typing import TypeVar

from sockmon.kernel import entering, procfs
from sockmon.kernel.errors import KernelError, NamespaceError
from sockmon.kernel.outside import OutsideSource
from sockmon.kernel.owners import label, unit_of
from sockmon.kernel.places import Place, processes_visible, read_cgroup
from sockmon.kernel.source import HOST, KernelSource, Source
from sockmon.model.series import OTHER

T = TypeVar("T")

_RESERVED = frozenset({HOST, OTHER})
_DENIED = frozenset({"EPERM", "EACCES"})


def inhabitant(cgroup: str) -> str | None:
    """Name who lives in a namespace by its first process's cgroup; None if that says nothing.

    In a machine with an init of its own the machine is meant: its first process's cgroup is
    /machine.slice/systemd-nspawn@web.service/payload/init.scope, say.
    """
    outside = cgroup.removesuffix("/init.scope")
    return unit_of(outside) if outside.strip("/") else None


class Neighbour:
    """One other namespace, for as long as it lives.

    place: where it was found last; the process by which it was found may end before it does.
    """

    def __init__(self, name: str, place: Place, host: KernelSource) -> None:
        self.name = name
        self.place = place
        self._host = host
        self._inside: KernelSource | None = None
        self._outside = OutsideSource(name, lambda: self.place, host.proc, host.stop_requested)
        self._may_enter = place.inode is not None

    def open(self) -> Source:
        """Return how it is asked: from inside if that is allowed, else from outside.

        Raises KernelError when it has gone, or cannot be seen at all.
        """
        if self._inside is None and self._may_enter:
            try:
                self._within(lambda: None)
            except KernelError as error:
                if error.reason not in _DENIED or self.hidden:
                    raise
            else:
                self._inside = self._host.neighbour(
                    self.name, self._within, lambda: self.place.way_in
                )
        return self._inside or self._outside

    @property
    def hidden(self) -> bool:
        """Whether nothing of it can be seen: it has no process, and may not be entered."""
        return not self._may_enter and self.place.pid is None

    @property
    def degraded(self) -> bool:
        """Whether it can be seen from outside only."""
        return not self._may_enter and self.place.pid is not None

    def occupied(self) -> bool | None:
        """Whether it has sockets, by its sockstat; None if it is hidden. Raises KernelError."""
        if self.place.pid is not None:
            return self._outside.occupied()
        try:
            return self._within(lambda: procfs.read_occupied(self._host.proc))
        except KernelError:
            if self.hidden:
                return None
            raise

    def is_at(self, place: Place) -> bool:
        """Whether this is it: inodes are given to other namespaces once it has died.

        It has not as long as its netlink socket is open, or the same process is in it.
        """
        held = self._inside is not None and self._inside.diag.is_open
        return held or (place.pid, place.path) == (self.place.pid, self.place.path)

    def close(self) -> None:
        """Let go of it: nothing of sockmon's keeps it alive."""
        if self._inside is not None:
            self._inside.close()

    def _within(self, function: Callable[[], T]) -> T:
        if self.place.inode is None:
            raise NamespaceError("entering the network namespace", "EACCES")
        try:
            return entering.inside(self.place.path, self.place.inode, function)
        except NamespaceError as error:
            self._may_enter &= error.reason not in _DENIED
            raise


class Neighbourhood:
    """Follows the host's other namespaces. For one thread."""

    def __init__(self, host: KernelSource) -> None:
        self._host = host
        self._known: dict[str, Neighbour] = {}

    def look(self) -> tuple[Neighbour, ...]:
        """Return those that there are now, and let go of the others; raises KernelError."""
        places = self._host.look_around()
        for key, neighbour in tuple(self._known.items()):
            place = places.get(key)
            if place is None or not neighbour.is_at(place):
                neighbour.close()
                del self._known[key]
            else:
                neighbour.place = place
        taken = {neighbour.name for neighbour in self._known.values()}
        for key, place in places.items():
            if key not in self._known:
                name = self._name(place, taken)
                taken.add(name)
                self._known[key] = Neighbour(name, place, self._host)
        return tuple(self._known.values())

    def unseen(self) -> tuple[str, ...]:
        """Say what was not seen in full at the last look, and what would show it."""
        outside = sum(neighbour.degraded for neighbour in self._known.values())
        hidden = sum(neighbour.hidden for neighbour in self._known.values())
        told = []
        if outside or hidden:
            told.append(
                f"{outside} network namespaces are seen from outside, so their sockets are counted "
                f"but not diagnosed, and {hidden} not at all: root, or CAP_SYS_ADMIN and "
                "CAP_SYS_PTRACE, would let sockmon enter them"
            )
        if not processes_visible(self._host.proc):
            told.append(
                "other users' processes are hidden (ProtectProc= or hidepid=), and with them their "
                "network namespaces: CAP_SYS_PTRACE would show them"
            )
        return tuple(told)

    def close(self) -> None:
        """Let go of all."""
        for neighbour in self._known.values():
            neighbour.close()
        self._known = {}

    def _name(self, place: Place, taken: Collection[str]) -> str:
        """Name it for people: as somebody did, or by its first process's container or unit."""
        name = place.given
        if name is None and place.pid is not None:
            name = inhabitant(read_cgroup(self._host.proc, place.pid))
        name = label(name) if name else f"netns-{place.number}"
        while name in taken or name in _RESERVED:
            name = f"{name}-{place.number}"
        return name
