"""How the host's other namespaces are looked for and looked into: by this process itself here,
or by a privileged helper (helper/client.py)."""

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


class Access(Protocol):
    """Who looks for namespaces and into them. All of it raises KernelError."""

    @property
    def cpu(self) -> float: ...  # noqa: D102 - seconds that other processes have spent on it

    def look(self) -> Mapping[str, Place]:
        """Return by key where there are namespaces other than the daemon's."""
        ...

    def occupied(self, place: Place) -> bool | None:
        """Whether there are sockets inside, None if it is not to be known."""
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
        """Say what it would take to see in full those seen from outside, and those hidden."""
        ...

    def close(self) -> None:
        """Let go of whatever is held."""
        ...


class OwnAccess:
    """Whatever this process may do by itself: enter with privilege, else see from outside."""

    cpu = 0.0

    def __init__(self, look: Callable[[], Mapping[str, Place]], proc: Path) -> None:
        """look: places.scan, or a part of it. proc: /proc."""
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
        """Say which privilege is wanting, if any is."""
        told = []
        if outside or hidden:
            told.append(
                f"{outside} network namespaces are seen from outside, so their sockets are counted "
                f"but not diagnosed, and {hidden} not at all: root, or CAP_SYS_ADMIN and "
                "CAP_SYS_PTRACE, would let sockmon enter them"
            )
        if not processes_visible(self._proc):
            told.append(
                "other users' processes are hidden (ProtectProc= or hidepid=), and with them their "
                "network namespaces: CAP_SYS_PTRACE would show them"
            )
        return tuple(told)

    def close(self) -> None:
        """Nothing is held."""


def _inside(place: Place, function: Callable[[], T]) -> T:
    if place.inode is None:
        raise NamespaceError("entering the network namespace", "EACCES")
    return setns.inside(place.path, place.inode, function)
