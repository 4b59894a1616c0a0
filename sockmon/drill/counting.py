"""Passes the program that counts connections to a drill's own daemon, as its helper would."""

import os
import tempfile
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from sockmon.kernel.events.helper.server import serve
from sockmon.kernel.events.loader import load
from sockmon.kernel.listening import made

#: Within this time the daemon asks, also on a busy machine.
_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Offer:
    """The socket at which one daemon gets the program; it is removed when that has asked."""

    socket: Path
    _answering: threading.Thread

    def wait(self) -> None:
        """Return when the program runs, or nobody has asked for it for a minute."""
        self._answering.join()


def offer() -> Offer:
    """Offer the program to the first daemon that asks; raises KernelError if it cannot be loaded.

    It counts from when it is asked for, so not what is refused while the daemon starts.
    """
    load().close()
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="sockmon-drill-"))
        path = Path(directory, "events")
        user = os.geteuid()
        listener = stack.enter_context(made(path, user))
        opened = stack.pop_all()

    def answer() -> None:
        with opened:
            serve(listener, frozenset({user}), load, idle_seconds=_SECONDS)

    answering = threading.Thread(target=answer, daemon=True)
    answering.start()
    return Offer(path, answering)
