"""Passes the program that counts connections to a drill's own daemon, as its helper would."""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from sockmon.kernel.events.helper.server import serve
from sockmon.kernel.events.loader import load
from sockmon.kernel.listening import made

#: Within this time the daemon asks, also on a busy machine.
_SECONDS = 60.0


@contextmanager
def offered() -> Iterator[Path]:
    """Load the program, and yield the socket at which one daemon gets it.

    The socket is removed when that daemon has asked. Raises KernelError.
    """
    with closing(load(())) as program, ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="sockmon-drill-"))
        path = Path(directory, "events")
        user = os.geteuid()
        listener = stack.enter_context(made(path, user))
        opened = stack.pop_all()

        def answer() -> None:
            with opened:
                serve(listener, frozenset({user}), lambda _: program.copy(), idle_seconds=_SECONDS)

        threading.Thread(target=answer, daemon=True).start()
        yield path
