"""The daemon's side: asks the privileged helper, with a limit on every wait.

Each look opens its own connection, so that a restarted helper is found at once, and an answer that
came too late is never taken for the answer to another request.
"""

import contextlib
import errno
import os
import socket
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from sockmon.kernel.errors import HelperError, NamespaceError, ProcError
from sockmon.kernel.netlink import uapi
from sockmon.kernel.netlink.sockdiag import NetlinkTransport
from sockmon.kernel.netns import discovery
from sockmon.kernel.netns.discovery import Place
from sockmon.kernel.netns.helper import protocol
from sockmon.kernel.netns.helper.protocol import Answer, Ask, MessageError, Request
from sockmon.model.limits import KernelLimits, PortRange

T = TypeVar("T")

_OPERATION = "asking the netns helper"
_HINT = "see systemctl status sockmon-netns.socket and journalctl -u sockmon-netns"
_OTHER_VERSION = "restart sockmon-netns if its version is not the daemon's"

_ANSWER_SECONDS = 2.0
#: A poll waits no longer than this for all answers together.
_ALL_ANSWERS_SECONDS = 10.0

_PROC = Path("/proc")
_SOCK_DIAG = (socket.AF_NETLINK, uapi.NETLINK_SOCK_DIAG)
_DESCRIPTOR = struct.Struct("i")
_ROOM_FOR_ONE = socket.CMSG_LEN(_DESCRIPTOR.size)
_Received = tuple[bytes, list[int]]


class HelperAccess:
    """The helper that listens on a socket. For one thread."""

    def __init__(self, path: str) -> None:
        """path: that of the socket."""
        self.cpu = 0.0
        self._path = path
        self._connection: socket.socket | None = None
        self._number = 0
        self._waited = 0.0
        self._occupied: dict[str, bool | None] = {}
        self._silent = False

    def look(self) -> Mapping[str, Place]:
        """Return by key the namespaces other than the calling thread's."""
        self._silent = True
        self._connect()
        own = discovery.own_inode(_PROC)
        found, occupied = {}, {}
        ask, more = Ask.LOOK, True
        while more:
            sightings, more = self._read(protocol.parse_page, self._ask(Request(ask)))
            for place, has_sockets in sightings:
                if place.inode != own:
                    found[place.key], occupied[place.key] = place, has_sockets
            ask = Ask.MORE
        self._occupied, self._silent = occupied, False
        return found

    def occupied(self, place: Place) -> bool | None:
        """Return whether there were sockets inside at the last look."""
        return self._occupied.get(place.key)

    def cgroup(self, place: Place) -> str:
        """Return the cgroup of the first process inside, "/" if there is none."""
        if place.inode is None:
            return "/"
        answer = self._ask(Request(Ask.CGROUP, netns=place.inode))
        return self._read(protocol.parse_cgroup, answer)

    def open_transport(self, place: Place) -> NetlinkTransport:
        """Receive a netlink socket that the helper has opened inside."""
        return NetlinkTransport(self._take(Request(Ask.OPEN, netns=_inode(place))))

    def limits(
        self, place: Place, known: KernelLimits | None
    ) -> tuple[KernelLimits, list[ProcError]]:
        """Let the helper call procfs.read_limits() inside."""
        asked = Request(Ask.LIMITS, netns=_inode(place), settings=known is None)
        limits, errors = self._read(protocol.parse_limits, self._ask(asked))
        if known is not None:
            limits = replace(
                known,
                sockstat=limits.sockstat,
                conntrack_entries=limits.conntrack_entries,
                conntrack_drops=limits.conntrack_drops,
                events=limits.events,
                traffic=limits.traffic,
                datagrams=limits.datagrams,
            )
        return limits, errors

    def port_range(self, place: Place) -> PortRange:
        """Return the port range, which the helper reads with all limits."""
        limits, errors = self.limits(place, None)
        if limits.port_range is None:
            raise errors[0] if errors else _malformed("neither a port range nor an error")
        return limits.port_range

    def unseen(self, outside: int, hidden: int) -> tuple[str, ...]:
        """Return hints: the helper does not answer, or may not enter some namespaces."""
        if self._silent:
            what = (
                "no other network namespace is seen: "
                f"poll.netns_helper_socket, {self._path}, does not answer"
            )
            return (f"{what}; {_HINT}",)
        if outside or hidden:
            what = f"the netns helper may not enter {outside + hidden} network namespaces"
            return (f"{what}: it needs CAP_SYS_ADMIN and CAP_SYS_PTRACE",)
        return ()

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> None:
        self.close()
        self._waited = 0.0
        try:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            raise _unanswered(error) from error
        try:
            connection.settimeout(_ANSWER_SECONDS)
            connection.connect(self._path)
        except OSError as error:
            connection.close()
            raise _unanswered(error) from error
        self._connection = connection

    def _ask(self, request: Request) -> Answer:
        """Send a request whose answer comes without descriptors."""
        answer, fds = self._exchange(request)
        for fd in fds:
            os.close(fd)
        return answer

    def _take(self, request: Request) -> socket.socket:
        """Send a request for a socket, and check that it is a sock_diag socket."""
        _, fds = self._exchange(request)
        for fd in fds:
            try:
                taken = socket.socket(fileno=fd)
            except OSError:
                os.close(fd)  # not a socket
                continue
            if (taken.family, taken.proto) == _SOCK_DIAG:
                return taken
            taken.close()
        self.close()
        raise _malformed("no netlink socket came with the answer")

    def _exchange(self, request: Request) -> tuple[Answer, list[int]]:
        """Send a request; return the answer and the descriptors that came with it.

        Raises HelperError, after which the next look opens a new connection; and, if the helper
        could not do what was asked, the NamespaceError that its answer contains.
        """
        if self._connection is None:
            raise HelperError(_OPERATION, "gone", "it failed in this poll")
        self._number = self._number % 0x7FFFFFFF + 1
        try:
            data, fds = self._wait_for_answer(
                self._connection, replace(request, number=self._number)
            )
            with contextlib.ExitStack() as closing:
                for fd in fds:
                    closing.callback(os.close, fd)
                if not data:
                    raise ConnectionResetError(errno.ECONNRESET, "it has closed the connection")
                answer = protocol.parse_answer(data, self._number)
                self.cpu += answer.cpu
                if answer.error is not None:
                    raise answer.error
                closing.pop_all()
        except OSError as error:
            self.close()
            raise _unanswered(error) from error
        except MessageError as error:
            self.close()
            raise _malformed(error) from error
        return answer, fds

    def _wait_for_answer(self, connection: socket.socket, request: Request) -> _Received:
        """Send and receive; raises OSError, or NamespaceError if there is no free descriptor."""
        begun = time.monotonic()
        left = min(_ANSWER_SECONDS, _ALL_ANSWERS_SECONDS - self._waited)
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        try:
            connection.send(request.encode())
            data, ancillary, flags, _ = connection.recvmsg(
                protocol.ANSWER_BYTES, _ROOM_FOR_ONE, socket.MSG_CMSG_CLOEXEC
            )
        finally:
            self._waited += time.monotonic() - begun
        fds = [
            fd
            for level, kind, payload in ancillary
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            for (fd,) in _DESCRIPTOR.iter_unpack(payload)
        ]
        if flags & socket.MSG_CTRUNC and not fds:
            operation = "receiving a netlink socket"
            raise NamespaceError.from_errno(operation, errno.EMFILE, "raise LimitNOFILE=")
        return data, fds

    def _read(self, parse: Callable[[Mapping[str, Any]], T], answer: Answer) -> T:
        """Parse an answer's body."""
        try:
            return parse(answer.body)
        except MessageError as error:
            self.close()
            raise _malformed(error) from error


def _inode(place: Place) -> int:
    if place.inode is None:
        raise NamespaceError("entering the network namespace", "EACCES")
    return place.inode


def _unanswered(error: OSError) -> HelperError:
    if isinstance(error, TimeoutError):
        return HelperError(_OPERATION, "ETIMEDOUT", "no answer in time", _HINT)
    if error.errno == errno.ECONNRESET:
        return HelperError(_OPERATION, "ECONNRESET", "it has closed the connection", _HINT)
    return HelperError.from_errno(_OPERATION, error.errno or errno.EIO, _HINT)


def _malformed(why: object) -> HelperError:
    return HelperError(_OPERATION, "malformed", f"malformed: {why}", _OTHER_VERSION)
