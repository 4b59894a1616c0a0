"""The host's other network namespaces: named for people, entered, followed as they come and go."""

import errno
import math
import re
import resource
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

from sockmon.kernel.errors import KernelError, NamespaceError, ProcError
from sockmon.kernel.interfaces import Source
from sockmon.kernel.netlink.sockdiag import Transport
from sockmon.kernel.netlink.source import KernelSource
from sockmon.kernel.netns.access import Access, OwnAccess
from sockmon.kernel.netns.discovery import Place
from sockmon.kernel.netns.helper.client import HelperAccess
from sockmon.kernel.netns.procfs_source import OutsideSource, visible
from sockmon.kernel.owners import unit_of
from sockmon.model.limits import KernelLimits, PortRange
from sockmon.model.names import HOST, OTHER
from sockmon.text import label

T = TypeVar("T")

#: Names that engines make up (CNI's, podman's, CRI-O's, Docker's), and their own tools never show.
_MADE_UP = re.compile(r"(cni-|netns-)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{12}")

#: Of the descriptors that the process may have, so many are not for namespaces, but for reading
#: /proc and for HTTP: a quarter, and no more than this.
_SPARED = 256

_RESERVED = frozenset({HOST, OTHER})
_DENIED = frozenset({"EPERM", "EACCES"})


def inhabitant(cgroup: str) -> str | None:
    """Name who lives in a namespace by its first process's cgroup; None if that says nothing.

    In a machine with an init of its own the machine is meant: its first process's cgroup is
    /machine.slice/systemd-nspawn@web.service/payload/init.scope, say.
    """
    outside = cgroup.removesuffix("/init.scope")
    return unit_of(outside) if outside.strip("/") else None


def called(given: str | None, cgroup: str) -> str | None:
    """Return what people call a namespace: as somebody named it, or by who lives in it."""
    if given is None or _MADE_UP.fullmatch(given):
        return inhabitant(cgroup) or given
    return given


class OtherNamespace:
    """One other namespace, for as long as it lives.

    place: where it was found last; the process by which it was found may end before it does.
    """

    def __init__(self, name: str, place: Place, host: KernelSource, access: Access) -> None:
        self.name = name
        self.place = place
        self._host = host
        self._access = access
        self._inside: KernelSource | None = None
        self._outside = OutsideSource(name, lambda: self.place, host.proc, host.stop_requested)
        self._may_enter = place.inode is not None

    def open(self) -> Source:
        """Return how it is asked: from inside if that is allowed, else from outside.

        Raises KernelError when it has gone, or cannot be seen at all.
        """
        if self._inside is None and self._may_enter:
            try:
                self.open_transport().close()
            except KernelError as error:
                if error.reason not in _DENIED or not self.degraded:
                    raise
            else:
                self._inside = self._host.neighbour(self.name, self)
        return self._inside or self._outside

    @property
    def hidden(self) -> bool:
        """Whether nothing of it can be seen: it may not be entered, and shows no process here."""
        return not self._may_enter and not visible(self._host.proc, self.place)

    @property
    def degraded(self) -> bool:
        """Whether it can be seen from outside only."""
        return not self._may_enter and not self.hidden

    def occupied(self) -> bool | None:
        """Whether it has sockets, by its sockstat; None if it is hidden. Raises KernelError."""
        try:
            return None if self.hidden else self._entering(self._access.occupied)
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

    def open_transport(self) -> Transport:
        """Open a netlink socket inside; raises KernelError.

        Too many of them would leave the daemon none for anything else, its own namespace included.
        """
        transport = self._entering(self._access.open_transport)
        if transport.fileno() >= _descriptors_for_namespaces():  # the lowest free is given first
            transport.close()
            operation, hint = "keeping a netlink socket", "raise LimitNOFILE="
            raise NamespaceError.from_errno(operation, errno.EMFILE, hint)
        return transport

    def limits(self, known: KernelLimits | None) -> tuple[KernelLimits, list[ProcError]]:
        """Read as procfs.read_limits() does, inside; raises KernelError."""
        return self._entering(lambda place: self._access.limits(place, known))

    def port_range(self) -> PortRange:
        """Read as procfs.read_port_range() does, inside; raises KernelError."""
        return self._entering(self._access.port_range)

    def nsenter_prefix(self) -> str:
        """Return what runs a command inside when put before it."""
        return self.place.nsenter_prefix

    def _entering(self, ask: Callable[[Place], T]) -> T:
        """Ask what may take entering, and note it if that is not allowed."""
        try:
            return ask(self.place)
        except NamespaceError as error:
            self._may_enter &= error.reason not in _DENIED
            raise


def _descriptors_for_namespaces() -> float:
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return math.inf
    return most - min(most // 4, _SPARED)


class NamespaceTracker:
    """Follows the host's other namespaces. For one thread."""

    def __init__(self, host: KernelSource, helper: str | None = None) -> None:
        """helper: the socket of the privileged helper to ask; else this process does it itself."""
        self._host = host
        self._access: Access = (
            OwnAccess(host.look_around, host.proc) if helper is None else HelperAccess(helper)
        )
        self._known: dict[str, OtherNamespace] = {}

    @property
    def cpu(self) -> float:
        """Seconds of CPU time that the helper has spent for it, which is in no clock of ours."""
        return self._access.cpu

    def look(self) -> tuple[OtherNamespace, ...]:
        """Return those that there are now, and let go of the others; raises KernelError."""
        try:
            return self._follow(self._access.look())
        except KernelError:
            # Who cannot see which have ended must hold none.
            for neighbour in self._known.values():
                neighbour.close()
            raise

    def unseen(self) -> tuple[str, ...]:
        """Say what was not seen in full at the last look, and what would show it."""
        outside = sum(neighbour.degraded for neighbour in self._known.values())
        hidden = sum(neighbour.hidden for neighbour in self._known.values())
        return self._access.unseen(outside, hidden)

    def close(self) -> None:
        """Let go of all."""
        for neighbour in self._known.values():
            neighbour.close()
        self._known = {}
        self._access.close()

    def _follow(self, places: Mapping[str, Place]) -> tuple[OtherNamespace, ...]:
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
                self._known[key] = OtherNamespace(name, place, self._host, self._access)
        return tuple(self._known.values())

    def _name(self, place: Place, taken: Collection[str]) -> str:
        name = called(place.given, self._access.cgroup(place))
        name = label(name) if name else f"netns-{place.number}"
        while name in taken or name in _RESERVED:
            name = f"{name}-{place.number}"
        return name
