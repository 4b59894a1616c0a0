"""`--port` of the commands that count or watch connections."""

import contextlib
import socket
from pathlib import Path

from sockmon.commands.command import UserError
from sockmon.text import did_you_mean

_SERVICES = Path("/etc/services")


def parse_port(text: str) -> int:
    """Accept a number, or a service's name as in /etc/services; raises UserError."""
    if text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= 65535:
        return int(text)
    for name in (text, text.lower()):
        with contextlib.suppress(OSError, ValueError):
            return socket.getservbyname(name)
    raise UserError(
        f"--port: {text!r} is not a port (0 to 65535), nor a service of /etc/services"
        f"{did_you_mean(text, _services())}"
    )


def _services() -> list[str]:
    """Return the names in /etc/services, without aliases; none if it cannot be read."""
    with contextlib.suppress(OSError):
        lines = _SERVICES.read_text("utf-8", "replace").splitlines()
        return [line.split()[0] for line in lines if line[:1].isalnum()]
    return []
