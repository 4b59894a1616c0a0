"""What a process may do: a JSON object, "yes" or the error's name for each attempt.

Run by itself, by the Python of the machine that is probed. No attempt that succeeds harms it.
"""

import ctypes
import errno
import json
import mmap
import os
import socket
from collections.abc import Callable
from pathlib import Path

CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUSER = 0x40000000, 0x00020000, 0x10000000  # linux/sched.h
PTRACE_TRACEME = 0  # sys/ptrace.h
NETLINK_SOCK_DIAG = 4  # linux/netlink.h

_libc = ctypes.CDLL(None, use_errno=True)


def in_child(function: str, *arguments: int) -> Callable[[], None]:
    """Call a function of the C library in a process of its own, which ends with it."""

    def attempt() -> None:
        child = os.fork()
        if child == 0:
            os._exit(ctypes.get_errno() if getattr(_libc, function)(*arguments) == -1 else 0)
        _, status = os.waitpid(child, 0)
        if number := os.waitstatus_to_exitcode(status):
            raise OSError(number, os.strerror(number))

    return attempt


def write(directory: str) -> Callable[[], None]:
    def attempt() -> None:
        path = Path(directory, "probe")
        with path.open("x"):
            pass
        path.unlink()

    return attempt


def make_setuid() -> None:
    path = Path("/var/lib/sockmon/setuid")
    path.touch()
    try:
        path.chmod(0o4755)
    finally:
        path.unlink()


def others_processes() -> None:
    if not any(path.name == "1" for path in Path("/proc").iterdir()):
        raise OSError(errno.ESRCH, "only our own")


def others_files_in_tmp() -> None:
    if not any(Path("/tmp").iterdir()):  # its own one, if it is confined
        raise OSError(errno.ENOENT, "empty")


def others_memory() -> None:
    Path("/proc/1/mem").open("rb").close()


def anothers_network() -> None:
    with Path("/proc/1/ns/net").open() as file:
        in_child("setns", file.fileno(), CLONE_NEWNET)()


ATTEMPTS: dict[str, Callable[[], object]] = {
    "write its state": write("/var/lib/sockmon"),
    "ask sock_diag": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG),
    "read limits": lambda: Path("/proc/sys/net/ipv4/tcp_max_tw_buckets").read_text(),
    "write /etc": write("/etc"),
    "write /usr": write("/usr"),
    "write /opt": write("/opt"),
    "write /run": write("/run"),
    "write /run/lock": write("/run/lock"),
    "write /dev/shm": write("/dev/shm"),
    "look into /home": lambda: any(Path("/home").iterdir()),
    "look into /root": lambda: any(Path("/root").iterdir()),
    "change a setting": lambda: Path("/proc/sys/net/ipv4/tcp_fin_timeout").open("r+").close(),
    "see others' processes": others_processes,
    "see others' files in /tmp": others_files_in_tmp,
    "open others' memory": others_memory,
    "enter another's network": anothers_network,
    "capture packets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    "trace": in_child("ptrace", PTRACE_TRACEME, 0, 0, 0),
    "unshare network": in_child("unshare", CLONE_NEWNET),
    "unshare mounts": in_child("unshare", CLONE_NEWNS),
    "unshare users": in_child("unshare", CLONE_NEWUSER),
    "become root": in_child("setresuid", 0, 0, 0),
    "rename the host": lambda: socket.sethostname(socket.gethostname()),
    "make code": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC),
    "make a set-user-ID file": make_setuid,
}


def probe() -> dict[str, str]:
    answers = {}
    for name, attempt in ATTEMPTS.items():
        try:
            attempt()
        except OSError as error:
            answers[name] = errno.errorcode[error.errno or 0]
        else:
            answers[name] = "yes"
    return answers


if __name__ == "__main__":
    print(json.dumps(probe()))  # noqa: T201 - whoever started it reads it
