"""A terminal of the tests: a program under a pseudo-terminal, its screen read by pyte."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

import pyte

from tests.lab import NetNs, eventually

Size = tuple[int, int]  # columns, lines


class Terminal:
    """A program that runs in a terminal of its own, and what it shows there."""

    def __init__(
        self, netns: NetNs, argv: tuple[str, ...], size: Size, environment: Mapping[str, str]
    ) -> None:
        self._screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self.written = b""
        self._master, self._slave = pty.openpty()
        self._tell_size(size)
        self.settings = termios.tcgetattr(self._slave)
        self.process = netns.call(
            subprocess.Popen[bytes],
            argv,
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            env={**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **environment},
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        self._listening, self._silence = os.pipe()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @classmethod
    @contextmanager
    def running(
        cls,
        netns: NetNs,
        argv: tuple[str, ...],
        size: Size = (80, 24),
        environment: Mapping[str, str] | None = None,
    ) -> Iterator["Terminal"]:
        """Run a program until the context is left."""
        terminal = cls(netns, argv, size, environment or {})
        try:
            yield terminal
        finally:
            terminal.close()

    def press(self, *keys: str) -> None:
        """Type each; escape sequences are one key."""
        for key in keys:
            os.write(self._master, key.encode())

    def resize(self, size: Size) -> None:
        """Become larger or smaller, as a window does."""
        with self._lock:
            self._screen.resize(size[1], size[0])
            self._screen.reset()
        self._tell_size(size)

    def lines(self) -> list[str]:
        """What is on the screen, without the blanks behind it."""
        with self._lock:
            return [line.rstrip() for line in self._screen.display]

    def shows(self, *texts: str) -> list[str]:
        """Return the screen's lines once all the texts are on it."""

        def on_it(lines: list[str]) -> bool:
            self._must_live()
            return all(text in "\n".join(lines) for text in texts)

        return eventually(self.lines, until=on_it)

    def shows_row(self, *cells: str) -> list[str]:
        """Wait for a line that begins with these cells, its mark left out; return all of them."""

        def row() -> list[str]:
            self._must_live()
            rows = (line.replace("!", " ").split() for line in self.lines())
            return next((row for row in rows if row[: len(cells)] == list(cells)), [])

        return eventually(row)

    def colours(self) -> set[str]:
        """The colours in use, but for the terminal's own."""
        with self._lock:
            cells = [cell for row in self._screen.buffer.values() for cell in row.values()]
        return {colour for cell in cells for colour in (cell.fg, cell.bg)} - {"default"}

    def is_as_before(self) -> bool:
        """Whether the terminal's settings are those from before the program began."""
        return termios.tcgetattr(self._slave) == self.settings

    def hang_up(self) -> None:
        """Go away, as a connection does that breaks."""
        self._stop_reading()
        os.close(self._slave)
        os.close(self._master)
        self._master = -1

    def deaf(self) -> None:
        """Take no output any more."""
        self._stop_reading()

    def close(self) -> None:
        """End the program, if it has not ended, and the terminal."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._stop_reading()
        if self._master != -1:
            os.close(self._master)
            os.close(self._slave)

    def _must_live(self) -> None:
        if self.process.poll() is not None:
            raise RuntimeError(f"it has ended with {self.process.returncode}: {self.lines()}")

    def _tell_size(self, size: Size) -> None:
        packed = struct.pack("HHHH", size[1], size[0], 0, 0)
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, packed)  # sends SIGWINCH

    def _stop_reading(self) -> None:
        if self._silence != -1:
            os.close(self._silence)
            self._reader.join()
            os.close(self._listening)
            self._silence = -1

    def _read(self) -> None:
        while True:
            ready, _, _ = select.select([self._master, self._listening], [], [])
            if self._master in ready:
                data = os.read(self._master, 65536)
                with self._lock:
                    self.written += data
                    self._stream.feed(data)
            elif self._listening in ready:
                return


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def sockmon_top(
    netns: NetNs,
    *arguments: str,
    size: Size = (80, 24),
    environment: Mapping[str, str] | None = None,
) -> AbstractContextManager[Terminal]:
    """Run `sockmon top` until the context is left."""
    argv = (sys.executable, "-m", "sockmon", "top", *arguments)
    return Terminal.running(netns, argv, size, environment)
