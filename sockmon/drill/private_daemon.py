"""A short-lived daemon for a drill that no other daemon can see; only its limits are configured.

It notifies no receiver, since it could not reach one, and keeps no state: that is the host's
daemon's.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sockmon.drill import child_process

ADDRESS = "127.0.0.1:10776"
URL = f"http://{ADDRESS}"

_LEFT_OUT = ("alerting", "events", "state_dir", "web")
_ENDS_WITHIN = 10.0


@dataclass(frozen=True, slots=True)
class PrivateDaemon:
    """Its process, and what it has logged."""

    process: subprocess.Popen[bytes]
    _log: IO[bytes]

    def last_line(self) -> str:
        """Return the last line that it logged."""
        self._log.seek(0)
        return (self._log.read().decode(errors="replace").splitlines() or ["no output"])[-1]


@contextmanager
def private_daemon(
    config: Path | None, events_socket: Path | None = None
) -> Iterator[PrivateDaemon]:
    """Run it in this process's namespace until the context is left.

    events_socket: where it gets the program that counts connections; None: it counts none.
    """
    with (
        tempfile.TemporaryFile() as log,
        os.fdopen(os.memfd_create("sockmon.yaml"), "wb", buffering=0) as file,
    ):
        file.write(its_own(b"" if config is None else config.read_bytes(), events_socket))
        arguments = ["run", "--config", f"/proc/self/fd/{file.fileno()}"]
        process = child_process.start(
            child_process.python("sockmon", *arguments, "--web.listen-address", ADDRESS),
            stdout=log,
            stderr=log,
            pass_fds=[file.fileno()],
        )
        try:
            yield PrivateDaemon(process, log)
        finally:
            process.terminate()
            child_process.end(process, within=_ENDS_WITHIN)


def its_own(config: bytes, events_socket: Path | None = None) -> bytes:
    """Return the configuration (valid YAML) without what a drill must not use."""
    import yaml  # noqa: PLC0415 - only a drill with a daemon of its own needs it

    document = yaml.safe_load(config) or {}
    kept = {key: value for key, value in document.items() if key not in _LEFT_OUT}
    if events_socket is not None:
        kept["events"] = {"enabled": True, "helper_socket": str(events_socket)}
    return yaml.safe_dump(kept).encode()
