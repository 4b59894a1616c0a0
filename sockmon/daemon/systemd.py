"""What systemd and a service tell each other: sd_notify(3), sd_watchdog_enabled(3), and
sd_listen_fds(3).
"""

import os
import socket
import time

_FIRST_PASSED = 3  # SD_LISTEN_FDS_START


def notify(*lines: str) -> None:
    """Notify the service manager, if there is one. A failure to do so is ignored."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
            connection.connect(address)
            connection.send("\n".join(lines).encode())
    except OSError:
        return


def reloading() -> None:
    """Notify that a reload begins; READY=1 ends it (Type=notify-reload needs the time)."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_seconds() -> float | None:
    """Return the watchdog's timeout if the service manager has set one for this process."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isascii() and microseconds.isdigit() else None


class PassedSocketError(Exception):
    """systemd has passed something that is no socket; the text says which descriptor."""


def passed_sockets() -> list[socket.socket]:
    """Take the sockets that systemd has passed to this process: none, one or more.

    Raises PassedSocketError.
    """
    pid, count = (os.environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS"))
    if pid != str(os.getpid()) or not (count.isascii() and count.isdigit()):
        return []
    return [_socket(_FIRST_PASSED + number) for number in range(int(count))]


def _socket(descriptor: int) -> socket.socket:
    try:
        passed = socket.socket(fileno=descriptor)
    except OSError as error:
        why = f"descriptor {descriptor}, passed by systemd: {error.strerror}"
        raise PassedSocketError(why) from error
    passed.set_inheritable(False)
    return passed
