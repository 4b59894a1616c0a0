"""A helper's listening socket: systemd's, or its own."""

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path


class ListenError(Exception):
    """There is no socket to listen on; the text says why, and what to do."""


def inherited(passed: Sequence[socket.socket], unit: str) -> socket.socket:
    """Return the one socket that systemd has passed; raises ListenError.

    unit: the name of the socket's unit.
    """
    if len(passed) != 1:
        raise ListenError(
            f"no socket was passed: start {unit}, or name a socket with --socket"
            if not passed
            else f"{len(passed)} sockets were passed: {unit} has one Listen... line"
        )
    (listener,) = passed
    if (listener.family, listener.type) != (socket.AF_UNIX, socket.SOCK_SEQPACKET):
        raise ListenError("the socket that was passed is not one of ListenSequentialPacket=")
    return listener


@contextlib.contextmanager
def made(path: Path, user: int) -> Iterator[socket.socket]:
    """Make a socket that root and this user may connect to; it is removed at the end.

    Raises ListenError.
    """
    try:
        _remove_left_over(path)
        listener = _bound(path, user)
    except OSError as error:
        raise ListenError(f"cannot listen on {path}: {error.strerror or error}") from error
    try:
        yield listener
    finally:
        listener.close()
        path.unlink(missing_ok=True)


def _bound(path: Path, user: int) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
        if user != os.geteuid():
            _hand_over(path, user)
        listener.listen(socket.SOMAXCONN)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener


def _hand_over(path: Path, user: int) -> None:
    try:
        os.chown(path, user, -1)
    except PermissionError:
        # Without CAP_CHOWN, as in a container: the server checks each client in any case.
        path.chmod(0o666)


def _remove_left_over(path: Path) -> None:
    """Remove a socket that no process listens on; raises OSError if one does."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError(errno.EEXIST, "there is a file that is not a socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as trial:
        if trial.connect_ex(str(path)) != errno.ECONNREFUSED:
            raise OSError(errno.EADDRINUSE, "another process listens there")
    path.unlink()
