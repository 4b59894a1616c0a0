"""The helper's side: enters namespaces for the users that are allowed, and does nothing else.

One thread answers one request at a time. A client can name a namespace only by an inode that the
helper itself has listed to that client just before. No namespace is kept open.
"""

import logging
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from sockmon.kernel.errors import KernelError, NamespaceError
from sockmon.kernel.netlink.sockdiag import NetlinkTransport
from sockmon.kernel.netns.access import OwnAccess
from sockmon.kernel.netns.discovery import Place
from sockmon.kernel.netns.helper import protocol
from sockmon.kernel.netns.helper.protocol import Ask, MessageError, Request, Sighting
from sockmon.model.limits import KernelLimits

log = logging.getLogger("sockmon")

CONNECTIONS_AT_MOST = 4
_COMPLAINTS_A_MINUTE = 10
_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid
_NO_SETTINGS = KernelLimits()  # "known", all of them
_Body = Mapping[str, Any]


@dataclass(eq=False, slots=True)
class _Client:
    """A connection. places: what its last look found; pages: the part of it not yet sent."""

    connection: socket.socket
    who: str
    heard_at: float
    places: Mapping[int, Place] = field(default_factory=dict)
    pages: Iterator[Sighting] = field(default_factory=lambda: iter(()))


class Server:
    """Serves a listening socket. A client must run as one of the `users`."""

    def __init__(self, listener: socket.socket, users: frozenset[int], access: OwnAccess) -> None:
        """listener: AF_UNIX, SOCK_SEQPACKET. users: uids as this process sees them."""
        self._listener = listener
        self._users = users
        self._access = access
        self._clients: list[_Client] = []
        self._complaints = _Complaints()
        self._selector = selectors.DefaultSelector()
        listener.setblocking(False)  # noqa: FBT003 - the standard library's own
        self._selector.register(listener, selectors.EVENT_READ)

    def serve(self, beat: Callable[[], None], seconds: float | None) -> NoReturn:
        """Serve forever; call `beat` every so many seconds, if any."""
        due = time.monotonic() + (seconds or 0)
        while True:
            left = None if seconds is None else max(0.0, due - time.monotonic())
            for ready, _ in self._selector.select(left):
                if ready.data is None:
                    self._accept()
                elif ready.data in self._clients:
                    self._serve(ready.data)
            if seconds is not None and time.monotonic() >= due:
                beat()
                due = time.monotonic() + seconds

    def close(self) -> None:
        """Drop all clients; the listener is the caller's."""
        for client in tuple(self._clients):
            self._drop(client)
        self._selector.close()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return  # the client disconnected before accept()
        credentials = connection.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
        )
        pid, uid, _ = _CREDENTIALS.unpack(credentials)
        who = f"PID {pid} of user {uid}"
        if uid not in self._users:
            connection.close()
            self._complaints.log(f"refused {who}: that user may not connect (--user)")
            return
        connection.setblocking(False)  # noqa: FBT003 - as above
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * protocol.ANSWER_BYTES)
        if len(self._clients) == CONNECTIONS_AT_MOST:
            quiet = min(self._clients, key=lambda client: client.heard_at)
            self._complaints.log(f"closed the connection of {quiet.who}: too many connections")
            self._drop(quiet)
        client = _Client(connection, who, time.monotonic())
        self._clients.append(client)
        self._selector.register(connection, selectors.EVENT_READ, client)

    def _serve(self, client: _Client) -> None:
        """Answer one request; a client that breaks the protocol is disconnected."""
        client.heard_at, begun = time.monotonic(), time.process_time()
        transport = None
        try:
            data = client.connection.recv(protocol.REQUEST_BYTES + 1)
            if not data:
                self._drop(client)
                return
            request = protocol.parse_request(data)
            try:
                body, transport = self._answer(client, request)
            except KernelError as error:
                body = protocol.refused(error)
            cpu = time.process_time() - begun
            answer = protocol.encode_answer(request.number, cpu, body)
            fds = [] if transport is None else [transport.fileno()]
            socket.send_fds(client.connection, [answer], fds)
        except BlockingIOError:
            self._complain(client, "it does not read its answers")
        except MessageError as error:
            self._complain(client, str(error))
        except OSError:
            self._drop(client)
        finally:
            if transport is not None:
                transport.close()

    def _answer(self, client: _Client, request: Request) -> tuple[_Body, NetlinkTransport | None]:
        """Do what is asked; raises KernelError."""
        if request.ask in (Ask.LOOK, Ask.MORE):
            if request.ask is Ask.LOOK:
                found = self._access.look().values()
                client.places = {place.inode: place for place in found if place.inode is not None}
                client.pages = (Sighting(place, self._occupied(place)) for place in found)
            return protocol.page_body(client.pages), None
        place = client.places.get(request.netns)
        if place is None:
            raise NamespaceError("entering the network namespace", "gone")
        if request.ask is Ask.OPEN:
            return {}, self._access.open_transport(place)
        if request.ask is Ask.CGROUP:
            return {"cgroup": self._access.cgroup(place)}, None
        known = None if request.settings else _NO_SETTINGS
        return protocol.limits_body(*self._access.limits(place, known)), None

    def _occupied(self, place: Place) -> bool | None:
        try:
            return self._access.occupied(place)
        except KernelError:
            return None

    def _complain(self, client: _Client, what: str) -> None:
        self._complaints.log(f"closed the connection of {client.who}: {what}")
        self._drop(client)

    def _drop(self, client: _Client) -> None:
        self._clients.remove(client)
        self._selector.unregister(client.connection)
        client.connection.close()


class _Complaints:
    """Logs what clients do wrong, with a limit, so that no client can fill the log."""

    def __init__(self) -> None:
        self._minute = -1
        self._logged = 0

    def log(self, complaint: str) -> None:
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute, self._logged = minute, 0
        self._logged += 1
        if self._logged < _COMPLAINTS_A_MINUTE:
            log.warning("%s", complaint)
        elif self._logged == _COMPLAINTS_A_MINUTE:
            log.warning("%s; more of this kind are not logged in this minute", complaint)
