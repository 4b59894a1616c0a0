"""`sockmon top` leaves its terminal as it was, whoever ends it, and ends with its terminal."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.lab import PATIENCE, NetNs, eventually
from tests.terminal import Terminal, sockmon_top

pytestmark = pytest.mark.root

NORMAL_SCREEN, ALTERNATE_SCREEN = b"\x1b[?1049l", b"\x1b[?1049h"
SHOW_CURSOR, HIDE_CURSOR = b"\x1b[?25h", b"\x1b[?25l"


@pytest.fixture
def top(netns: NetNs) -> Iterator[Terminal]:
    with sockmon_top(netns) as shown:
        shown.shows("PORTS 0", "no sockets", "q quit")
        yield shown


@pytest.mark.parametrize(
    ("leave", "status"),
    [("q", 0), ("\x03", 0), ("\x11", 0), (signal.SIGINT, 130), (signal.SIGTERM, 143)],
    ids=str,
)
def test_it_leaves_the_terminal_as_it_was(
    top: Terminal, leave: str | signal.Signals, status: int
) -> None:
    assert not top.is_as_before()
    if isinstance(leave, signal.Signals):
        top.process.send_signal(leave)
    else:
        top.press(leave)
    assert top.process.wait(PATIENCE) == status
    assert top.is_as_before()
    eventually(lambda: top.written.rfind(SHOW_CURSOR) > top.written.rfind(HIDE_CURSOR))
    eventually(lambda: top.written.rfind(NORMAL_SCREEN) > top.written.rfind(ALTERNATE_SCREEN))
    assert b"Traceback" not in top.written


def test_put_aside_it_gives_the_terminal_back_and_resumes(top: Terminal) -> None:
    top.press("\x1a")
    eventually(lambda: psutil.Process(top.process.pid).status(), until="stopped".__eq__)
    assert top.is_as_before()
    eventually(lambda: top.written.rfind(NORMAL_SCREEN) > top.written.rfind(ALTERNATE_SCREEN))
    top.process.send_signal(signal.SIGCONT)
    eventually(lambda: top.written.rfind(ALTERNATE_SCREEN) > top.written.rfind(NORMAL_SCREEN))
    top.press("?")
    top.shows("HELP")


def test_it_ends_with_its_terminal(top: Terminal) -> None:
    top.hang_up()
    assert top.process.wait(PATIENCE) != 0


def test_it_ends_even_if_its_terminal_takes_no_output(top: Terminal) -> None:
    top.deaf()

    def waits_in() -> list[str]:
        top.press("?")
        return [path.read_text() for path in Path(f"/proc/{top.process.pid}/task").glob("*/wchan")]

    # The thread that writes waits for room in the terminal.
    eventually(waits_in, until=lambda kernel: "wait_woken" in kernel)
    top.process.send_signal(signal.SIGTERM)
    assert top.process.wait(PATIENCE) == -signal.SIGALRM


def test_without_its_extra_it_says_how_to_have_it(netns: NetNs) -> None:
    program = (
        "import sys; sys.modules['textual'] = None;"
        "from sockmon.commands.cli import main; sys.exit(main(['top']))"
    )
    with Terminal.running(netns, (sys.executable, "-c", program)) as top:
        assert top.process.wait(PATIENCE) == 2
        said = eventually(lambda: top.written).decode()
        assert "top needs textual: pip install 'sockmon[terminal]'" in said
        assert "\x1b" not in said
