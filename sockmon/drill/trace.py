"""The segments of a drill's connections, seen by `sockmon trace`."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sockmon.drill import child_process
from sockmon.drill.watch import DrillError

_ENDS_WITHIN = 10.0


class Trace:
    """`sockmon trace` in this process's namespace, writing headers into a file."""

    def __init__(self, process: subprocess.Popen[bytes], file: Path) -> None:
        self._process = process
        self._file = file

    def show(self, port: int) -> None:
        """Print the connections of a port, as seen so far; raises DrillError."""
        self._process.terminate()
        if self._process.wait(_ENDS_WITHIN):
            raise DrillError("sockmon trace has failed")
        arguments = ["trace", "--port", str(port), "--read", str(self._file)]
        sys.stdout.flush()
        subprocess.run(child_process.python("sockmon", *arguments), check=False)  # noqa: S603 - our own program


@contextmanager
def traced() -> Iterator[Trace]:
    """Watch until the context is left; raises DrillError if that is not possible."""
    with tempfile.TemporaryDirectory(prefix="sockmon-") as directory:
        file = Path(directory, "drill.pcap")
        process = child_process.start(
            child_process.python("sockmon", "trace", "--write", str(file)),
            stdout=subprocess.DEVNULL,
        )
        try:
            assert process.stderr is not None
            line = process.stderr.readline().decode().strip()
            if "watching" not in line or "CAP_NET_RAW" in line:
                raise DrillError(f"--trace: {line.removeprefix('sockmon: ')}")
            yield Trace(process, file)
        finally:
            process.terminate()
            child_process.end(process, within=_ENDS_WITHIN)
