"""The host's other network namespaces: named, entered, tracked as they come and go."""

import errno
import math
import re
import resource
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import TypeVar

from sockmon.kernel.cgroups import container_of, unit_of
from sockmon.kernel.containers import read_names
from sockmon.kernel.errors import KernelError, NamespaceError, ProcError
from sockmon.kernel.interfaces import Source, Transport
from sockmon.kernel.netlink.source import KernelSource
from sockmon.kernel.netns import discovery
from sockmon.kernel.netns.access import Access, Look, OwnAccess
from sockmon.kernel.netns.discovery import Place
from sockmon.kernel.netns.helper.client import HelperAccess
from sockmon.kernel.netns.procfs_source import OutsideSource, visible
from sockmon.model.limits import KernelLimits, PortRange
from sockmon.model.names import HOST, OTHER
from sockmon.model.observation import ContainerNames
from sockmon.text import label

T = TypeVar("T")

#: Names that engines generate (CNI, podman, CRI-O, Docker) and that their own tools never show.
_GENERATED = re.compile(r"(cni-|netns-)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{12}")

#: A quarter of the descriptors that the process may have, and at most this many, are kept from
#: namespaces: they are for /proc and for HTTP.
_KEPT_DESCRIPTORS = 256

_RESERVED = frozenset({HOST, OTHER})
#: To enter, or to open a netlink socket inside.
_DENIED = frozenset({"EPERM", "EACCES", "EAFNOSUPPORT", "EPROTONOSUPPORT"})


def inhabitant(cgroup: str) -> str | None:
    """Return the unit or container of a namespace's first process; None if the cgroup names none.

    A machine with an init of its own is named by its own unit: its first process's cgroup is, for
    example, /machine.slice/systemd-nspawn@web.service/payload/init.scope.
    """
    outside = cgroup.removesuffix("/init.scope")
    return unit_of(outside) if outside.strip("/") else None


def called(given: str | None, cgroup: str) -> str | None:
    """Return a namespace's name: as somebody named it, else its inhabitant's."""
    if given is None or _GENERATED.fullmatch(given):
        return inhabitant(cgroup) or given
    return given


class OtherNamespace:
    """One other namespace, for as long as it lives.

    place: where it was found last; the process by which it was found may end earlier than it.
    names: what its container's engine calls it.
    """

    def __init__(
        self,
        name: str,
        place: Place,
        host: KernelSource,
        access: Access,
        names: ContainerNames | None = None,
    ) -> None:
        self.name = name
        self.names = names
        self.place = place
        self._host = host
        self._access = access
        self._inside: KernelSource | None = None
        self._outside = OutsideSource(name, lambda: self.place, host.proc, host.stop_requested)
        self._may_enter = place.inode is not None

    def open(self) -> Source:
        """Return its source: inside if sockmon may enter it, else as seen from outside.

        Raises KernelError when it has gone, or cannot be seen at all.
        """
        if self._inside is None and self._may_enter:
            try:
                self.open_transport().close()
            except KernelError as error:
                if error.reason not in _DENIED or not self.degraded:
                    raise
            else:
                self._inside = self._host.of_namespace(self.name, self)
        return self._inside or self._outside

    @property
    def hidden(self) -> bool:
        """Whether nothing of it can be read: neither inside, nor below a process in this /proc."""
        return not self._may_enter and not visible(self._host.proc, self.place)

    @property
    def degraded(self) -> bool:
        """Whether it can be seen from outside only."""
        return not self._may_enter and not self.hidden

    def occupied(self) -> bool | None:
        """Whether it has sockets, by its sockstat; None if it is hidden. Raises KernelError."""
        try:
            return None if self.hidden else self._enter_to(self._access.occupied)
        except KernelError:
            if self.hidden:
                return None
            raise

    def is_at(self, place: Place) -> bool:
        """Whether `place` is this namespace. Its inode is given to another one after its death.

        It is alive as long as its netlink socket is open, or the same process is in it.
        """
        held = self._inside is not None and self._inside.diag.is_open
        return held or (place.pid, place.path) == (self.place.pid, self.place.path)

    def close(self) -> None:
        """Close the netlink socket inside, which would keep it alive."""
        if self._inside is not None:
            self._inside.close()

    def open_transport(self) -> Transport:
        """Open a netlink socket inside; raises KernelError.

        Beyond a limit it is refused: the daemon needs descriptors for its own namespace too.
        """
        transport = self._enter_to(self._access.open_transport)
        if transport.fileno() >= _descriptors_for_namespaces():  # the lowest free is given first
            transport.close()
            operation, hint = "keeping a netlink socket", "raise LimitNOFILE="
            raise NamespaceError.from_errno(operation, errno.EMFILE, hint)
        return transport

    def limits(self, known: KernelLimits | None) -> tuple[KernelLimits, list[ProcError]]:
        """Read as procfs.read_limits() does, inside; raises KernelError."""
        return self._enter_to(lambda place: self._access.limits(place, known))

    def port_range(self) -> PortRange:
        """Read as procfs.read_port_range() does, inside; raises KernelError."""
        return self._enter_to(self._access.port_range)

    def number(self) -> int | None:
        """Return its number in procfs, as processes there have it; None if there are none."""
        return self.place.directory

    def nsenter_prefix(self) -> str:
        """Return the prefix that runs a command inside."""
        return self.place.nsenter_prefix

    def _enter_to(self, ask: Callable[[Place], T]) -> T:
        """Do what may need entering, and remember it if that is not allowed."""
        try:
            return ask(self.place)
        except NamespaceError as error:
            self._may_enter &= error.reason not in _DENIED
            raise


def _descriptors_for_namespaces() -> float:
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return math.inf
    return most - min(most // 4, _KEPT_DESCRIPTORS)


class NamespaceTracker:
    """Tracks the host's other namespaces. For one thread."""

    def __init__(
        self, host: KernelSource, helper: str | None = None, look: Look | None = None
    ) -> None:
        """helper: the socket of the privileged helper to ask; without it this process enters.

        look: finds namespaces, if there is no helper; by default discovery.scan() on a live
        kernel, and nothing in a recording, which has no namespaces.
        """
        self._host = host
        if look is None:
            look = partial(discovery.scan, host.proc) if host.is_live else dict
        self._access: Access = (
            OwnAccess(look, host.proc) if helper is None else HelperAccess(helper)
        )
        self._known: dict[str, OtherNamespace] = {}

    @property
    def cpu(self) -> float:
        """Seconds of CPU time that the helper has used, which this process's clock leaves out."""
        return self._access.cpu

    def look(self) -> tuple[OtherNamespace, ...]:
        """Return those that exist now, and release the others; raises KernelError."""
        try:
            return self._follow(self._access.look())
        except KernelError:
            # Which have ended is unknown, so none may be kept alive.
            for namespace in self._known.values():
                namespace.close()
            raise

    def unseen(self) -> tuple[str, ...]:
        """Say what was not seen in full at the last look, and what is needed to see it."""
        outside = sum(namespace.degraded for namespace in self._known.values())
        hidden = sum(namespace.hidden for namespace in self._known.values())
        return self._access.unseen(outside, hidden)

    def close(self) -> None:
        """Release all."""
        for namespace in self._known.values():
            namespace.close()
        self._known = {}
        self._access.close()

    def _follow(self, places: Mapping[str, Place]) -> tuple[OtherNamespace, ...]:
        for key, namespace in tuple(self._known.items()):
            place = places.get(key)
            if place is None or not namespace.is_at(place):
                namespace.close()
                del self._known[key]
            else:
                namespace.place = place
        taken = {namespace.name for namespace in self._known.values()}
        for key, place in places.items():
            if key not in self._known:
                cgroup = self._access.cgroup(place)
                name = _name(place, cgroup, taken)
                taken.add(name)
                container = container_of(cgroup)
                names = read_names(self._host.proc.parent, container) if container else None
                self._known[key] = OtherNamespace(name, place, self._host, self._access, names)
        return tuple(self._known.values())


def _name(place: Place, cgroup: str, taken: Collection[str]) -> str:
    name = called(place.given, cgroup)
    name = label(name) if name else f"netns-{place.number}"
    while name in taken or name in _RESERVED:
        name = f"{name}-{place.number}"
    return name
