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

_LEFT_OUT = ("alerting", "state_dir", "web")
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
def private_daemon(config: Path | None) -> Iterator[PrivateDaemon]:
    """Run it in this process's namespace until the context is left."""
    with (
        tempfile.TemporaryFile() as log,
        os.fdopen(os.memfd_create("sockmon.yaml"), "wb", buffering=0) as file,
    ):
        file.write(b"{}" if config is None else without_receivers(config.read_bytes()))
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


def without_receivers(config: bytes) -> bytes:
    """Return the configuration (valid YAML) without what a drill must not use."""
    import yaml  # noqa: PLC0415 - only a configured drill needs it

    document = yaml.safe_load(config) or {}
    kept = {key: value for key, value in document.items() if key not in _LEFT_OUT}
    return yaml.safe_dump(kept).encode()
