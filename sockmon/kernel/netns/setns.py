"""Entering another network namespace: the only file from which a thread of the daemon moves.

The thread that enters is made for that, does one thing and ends, so that no other ever finds
itself somewhere else. What it opens there (netlink sockets) stays there, for any thread to use.
"""

import ctypes
import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sockmon.kernel.errors import NamespaceError

T = TypeVar("T")

CLONE_NEWNET = 0x40000000  # linux/sched.h
_OPERATION = "entering the network namespace"
_HINT = "it needs CAP_SYS_ADMIN and CAP_SYS_PTRACE"

_libc = ctypes.CDLL(None, use_errno=True)  # os.setns() is of Python 3.12


def inside(path: Path, inode: int, function: Callable[[], T]) -> T:
    """Call the function in the namespace whose nsfs file is `path`, if its inode is still `inode`.

    Raises NamespaceError, with the reason "gone" if that namespace is no longer to be found there,
    and whatever the function raises.
    """

    def run() -> T:
        _enter(path, inode)
        return function()

    with ThreadPoolExecutor(1, "netns") as thread:
        try:
            answer = thread.submit(run)
        except RuntimeError as error:
            raise NamespaceError(_OPERATION, "EAGAIN", "no thread can be started") from error
        return answer.result()


def setns(fd: int) -> None:
    """Move the calling thread into the namespace of an nsfs file; raises OSError."""
    if _libc.setns(fd, CLONE_NEWNET) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"setns(CLONE_NEWNET): {os.strerror(number)}")


def _enter(path: Path, inode: int) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_ino != inode:
                raise NamespaceError(_OPERATION, "gone")
            setns(fd)
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESRCH):
            raise NamespaceError(_OPERATION, "gone") from error
        denied = error.errno in (errno.EPERM, errno.EACCES)
        number = error.errno or errno.EIO
        raise NamespaceError.from_errno(_OPERATION, number, _HINT if denied else "") from error
