"""The helper's side: loads the program for the users that are allowed, and does nothing else."""

import contextlib
import logging
import socket
import struct
from collections.abc import Callable
from dataclasses import astuple

from sockmon.kernel.errors import KernelError
from sockmon.kernel.events.helper import protocol
from sockmon.kernel.events.helper.protocol import Listener, MessageError
from sockmon.kernel.events.loader import Descriptors

log = logging.getLogger("sockmon")

Load = Callable[[list[Listener]], Descriptors]

#: A client sends its request at once. A helper that nobody asks ends, and is started again.
_REQUEST_SECONDS = 2.0
_IDLE_SECONDS = 10.0
_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid


def serve(
    listener: socket.socket,
    users: frozenset[int],
    load: Load,
    *,
    forever: bool = False,
    idle_seconds: float = _IDLE_SECONDS,
) -> None:
    """Answer one request of a user that is allowed, and return; or serve forever.

    listener: AF_UNIX, SOCK_SEQPACKET. users: uids as this process sees them. load: loader.load().
    Also returns when nobody asks for so many seconds. It keeps nothing of what was loaded.
    """
    listener.settimeout(None if forever else idle_seconds)
    while True:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            return
        except OSError:
            continue  # the client disconnected before accept()
        with connection:
            answered = _serve(connection, users, load)
        if answered and not forever:
            return


def _serve(connection: socket.socket, users: frozenset[int], load: Load) -> bool:
    """Answer one request; return whether there was one."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    who = f"PID {pid} of user {uid}"
    if uid not in users:
        log.warning("refused %s: that user may not connect (--user)", who)
        return False
    connection.settimeout(_REQUEST_SECONDS)
    try:
        data = connection.recv(protocol.REQUEST_BYTES + 1)
        if not data:
            return False
        listeners = protocol.parse_request(data)
    except (OSError, MessageError) as error:
        log.warning("closed the connection of %s: %s", who, error)
        return False
    try:
        descriptors = load(list(listeners))
    except KernelError as error:
        log.warning("%s", error)
        with contextlib.suppress(OSError):
            connection.send(protocol.encode_answer(error))
        return True
    with contextlib.closing(descriptors), contextlib.suppress(OSError):
        passed = [*astuple(descriptors)]
        socket.send_fds(connection, [protocol.encode_answer()], passed)
        log.info("passed the counting program to %s", who)
    return True
