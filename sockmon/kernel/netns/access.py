"""How the host's other namespaces are found and entered: by this process, which is here, or by a
privileged helper (helper/client.py)."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from sockmon.kernel import procfs
from sockmon.kernel.errors import NamespaceError, ProcError
from sockmon.kernel.netlink.sockdiag import NetlinkTransport
from sockmon.kernel.netns import procfs_source, setns
from sockmon.kernel.netns.discovery import Place, processes_visible, read_cgroup
from sockmon.model.limits import KernelLimits, PortRange

T = TypeVar("T")

#: Returns the namespaces other than the calling thread's, by key; raises KernelError.
Look = Callable[[], Mapping[str, Place]]


class Access(Protocol):
    """Finds namespaces and reads inside them; raises KernelError, but for unseen() and close()."""

    @property
    def cpu(self) -> float: ...  # noqa: D102 - seconds of CPU time that other processes have used for it

    def look(self) -> Mapping[str, Place]:
        """Return the namespaces other than the daemon's, by key."""
        ...

    def occupied(self, place: Place) -> bool | None:
        """Whether there are sockets inside, None if that cannot be known."""
        ...

    def cgroup(self, place: Place) -> str:
        """Return the cgroup of the first process inside, "/" if there is none."""
        ...

    def open_transport(self, place: Place) -> NetlinkTransport:
        """Open a netlink socket inside."""
        ...

    def limits(
        self, place: Place, known: KernelLimits | None
    ) -> tuple[KernelLimits, list[ProcError]]:
        """Read as procfs.read_limits() does, inside."""
        ...

    def port_range(self, place: Place) -> PortRange:
        """Read as procfs.read_port_range() does, inside."""
        ...

    def unseen(self, outside: int, hidden: int) -> tuple[str, ...]:
        """Say what is needed to see in full those seen from outside, and those hidden."""
        ...

    def close(self) -> None:
        """Release what is held."""
        ...


class OwnAccess:
    """What this process may do itself: enter with privileges, else read from outside."""

    cpu = 0.0

    def __init__(self, look: Look, proc: Path) -> None:
        """look: discovery.scan, or a part of it. proc: /proc."""
        self.look = look
        self._proc = proc

    def occupied(self, place: Place) -> bool:
        """Whether there are sockets inside, by its sockstat."""
        if place.pid is not None:
            return procfs_source.occupied(self._proc, place)
        return _inside(place, partial(procfs.read_occupied, self._proc))

    def cgroup(self, place: Place) -> str:
        """Return the cgroup of the first process inside, "/" if there is none."""
        return "/" if place.pid is None else read_cgroup(self._proc, place.pid)

    def open_transport(self, place: Place) -> NetlinkTransport:
        """Open a netlink socket inside."""
        try:
            return _inside(place, NetlinkTransport)
        except OSError as error:
            operation = "opening a netlink socket inside"
            raise NamespaceError.from_errno(operation, error.errno or 0) from error

    def limits(
        self, place: Place, known: KernelLimits | None
    ) -> tuple[KernelLimits, list[ProcError]]:
        """Read as procfs.read_limits() does: /proc/sys/net is that of the reader's namespace."""
        return _inside(place, partial(procfs.read_limits, self._proc, known))

    def port_range(self, place: Place) -> PortRange:
        """Read as procfs.read_port_range() does."""
        return _inside(place, partial(procfs.read_port_range, self._proc))

    def unseen(self, outside: int, hidden: int) -> tuple[str, ...]:
        """Say which privileges are missing, if any are."""
        hints = []
        if outside or hidden:
            hints.append(
                f"{outside} network namespaces are seen from outside, so their sockets are counted "
                f"but not diagnosed, and {hidden} not at all: root, or CAP_SYS_ADMIN and "
                "CAP_SYS_PTRACE, lets sockmon enter them"
            )
        if not processes_visible(self._proc):
            hints.append(
                "other users' processes are hidden (ProtectProc= or hidepid=), and with them their "
                "network namespaces: CAP_SYS_PTRACE shows them"
            )
        return tuple(hints)

    def close(self) -> None:
        """Nothing is held."""


def _inside(place: Place, function: Callable[[], T]) -> T:
    if place.inode is None:
        raise NamespaceError("entering the network namespace", "EACCES")
    return setns.inside(place.path, place.inode, function)
