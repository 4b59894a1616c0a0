"""`sockmon top` in a real terminal, over real sockets: what it shows."""

import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.lab import PATIENCE, NetNs, eventually, experiments, states
from tests.live.test_daemon import NOBODY
from tests.running import running_daemon
from tests.terminal import Size, Terminal, sockmon_top

pytestmark = pytest.mark.root

URL = "http://127.0.0.1:10776"
#: Leaks are found within seconds, and every look is soon followed by the next.
QUICK = "poll: {interval: 200ms}\ndetect:\n  close_wait_leak: {stale_after: 1s}\n"
SIZES: list[Size] = [(80, 24), (120, 40), (200, 60), (40, 12), (40, 10)]
COLOUR = re.compile(rb"\x1b\[[0-9;]*\b(?:3[0-7]|4[0-7]|9[0-7]|10[0-7]|[34]8)\b[0-9;]*m")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(QUICK)
    return path


@pytest.fixture
def top(netns: NetNs, config: Path) -> Iterator[Terminal]:
    with states.established(netns, count=3), sockmon_top(netns, "--config", str(config)) as shown:
        shown.shows("OK  the")
        yield shown


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_leak_is_the_first_thing_to_see_at_any_size(
    netns: NetNs, config: Path, size: Size
) -> None:
    with (
        experiments.process_killed(netns, count=12) as leak,
        sockmon_top(netns, "--config", str(config), size=size) as top,
    ):
        top.shows("WARNING", "close_wait_leak", "CLOSE_WAIT", "help")
        eventually(top.lines, until=lambda s: s[0].startswith(" WARNING  python leaking_server"))
        port = str(leak.held.port)
        if size[0] < 120:  # else the states are beside it
            top.shows_row(port, "inbound", "13", "12")
        lines = top.shows(f"!  {port}")
        assert all(len(line) <= size[0] for line in lines)
        assert len(lines) == size[1]
        assert "help" in lines[-1]


def test_counts_follow_the_sockets(top: Terminal, netns: NetNs) -> None:
    with states.established(netns, count=20) as held:
        top.shows("48 sockets")
        top.shows_row(str(held.port), "inbound", "21")
        top.shows_row(str(held.port), "outbound", "20")
    top.shows("7 sockets")


def test_a_finding_whole_with_its_advice_and_back(netns: NetNs, config: Path) -> None:
    with (
        experiments.process_killed(netns, count=12) as leak,
        sockmon_top(netns, "--config", str(config), size=(100, 30)) as top,
    ):
        top.shows("WARNING", f"python leaking_server.py[{leak.process.pid}]")
        top.press("1")
        lines = top.shows("FINDING 1 of 1", "SockmonCloseWaitLeak.md")
        shown = "\n".join(lines)
        assert "   - python leaking_server.py must close these sockets" in shown
        assert f"held by: python leaking_server.py[{leak.process.pid}]" in shown
        leak.kill()
        top.shows("This finding has gone.", "OK  the")
        top.press("\x1b")
        top.shows("PORTS")


def test_rows_are_sorted_grouped_and_filtered(top: Terminal, netns: NetNs) -> None:
    with states.established(netns, count=9) as held:
        top.shows("26 sockets")
        eventually(lambda: totals(top), until=["10", "9", "4", "3"].__eq__)
        top.press("r")
        eventually(lambda: totals(top), until=["3", "4", "9", "10"].__eq__)
        top.press("l")
        top.shows("LISTEN▼")
        top.press("g")
        lines = top.shows("OWNERS 1 ", " 26 ")
        assert any(re.search(r" 26 +24 +2$", line) for line in lines)
        top.press("g")
        top.shows("PEER", "127.0.0.1")
        top.shows_row("127.0.0.1", "24")
        top.press("g", "/", *str(held.port), "\r")
        top.shows("PORTS 2 of 4", f"filter '{held.port}'")
        top.press("\x1b[B", "\r")
        top.shows("DETAILS", f"sockmon count --port {held.port}")
        top.press("\x1b")
        top.shows("PORTS 2 of 4")
        top.press("\x1b")
        top.shows("PORTS 4 ")


def totals(top: Terminal) -> list[str]:
    """The totals of the table's rows, from top to bottom."""
    rows = (line.split() for line in top.lines())
    return [cells[2] for cells in rows if cells[1:2] in (["inbound"], ["outbound"])]


def frozen_for(top: Terminal) -> str:
    """How long what is shown has stood still, as it says."""
    screen = top.shows("FROZEN", " ago")
    (age,) = re.findall(r"FROZEN (\w+) ago", "\n".join(screen))
    return str(age)


def test_frozen_it_stands_still_while_polls_go_on(top: Terminal, netns: NetNs) -> None:
    top.press(" ")
    top.shows("FROZEN", "7 sockets", "now OK")
    with states.established(netns, count=20):
        made = frozen_for(top)
        eventually(lambda: frozen_for(top), until=lambda age: age != made)  # and five polls more
        top.shows("FROZEN", "7 sockets")
        top.press(" ")
        top.shows("OK  the", "48 sockets")


def test_the_help_is_a_key_away(top: Terminal) -> None:
    top.press("?")
    top.shows("HELP", "sort by ESTABLISHED, CLOSE_WAIT", "look less often, more often")
    top.press("\x1b")
    top.shows("PORTS")


def test_it_fits_whatever_size_its_terminal_takes(top: Terminal) -> None:
    for size in (40, 12), (120, 40), (20, 3), (80, 24):
        top.resize(size)
        lines = top.shows("OK  the" if size[1] > 1 else "")
        assert len(lines) == size[1]
    top.shows("STATES", "PORTS", "q quit")


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "vt100"}], ids=str)
def test_without_colours_nothing_is_lost(
    netns: NetNs, config: Path, environment: dict[str, str]
) -> None:
    with (
        experiments.process_killed(netns, count=12),
        sockmon_top(netns, "--config", str(config), environment=environment) as top,
    ):
        lines = top.shows("WARNING", "warning close_wait_leak", "!  ")
        assert any(line.startswith("!") for line in lines)
        assert not COLOUR.search(top.written)
        assert environment.keys() == {"NO_COLOR"} or "\n".join(lines).isascii()


@pytest.mark.parametrize("environment", [{"TERM": "linux"}, {"PYTHONIOENCODING": "ascii"}], ids=str)
def test_where_there_are_no_block_elements_it_does_without(
    netns: NetNs, config: Path, environment: dict[str, str]
) -> None:
    with (
        states.established(netns, count=3),
        sockmon_top(netns, "--config", str(config), environment=environment) as top,
    ):
        assert "\n".join(top.shows("OK  the", "TOTALv")).isascii()


def test_keys_change_the_interval(top: Terminal) -> None:
    top.shows("every 0.2 s")
    top.press("+")
    top.shows("every 0.4 s", "OK  the")
    top.press("-", "-")
    top.shows("every 0.1 s", "OK  the")


def test_with_colours_it_uses_the_terminals_own(netns: NetNs, config: Path) -> None:
    with (
        experiments.process_killed(netns, count=12),
        sockmon_top(netns, "--config", str(config)) as top,
    ):
        top.shows("WARNING")
        assert {"green", "brown", "cyan"} <= top.colours()  # pyte calls ANSI's yellow brown
        assert b"\x1b[38;" not in top.written


def test_a_terminal_that_cannot_move_its_cursor_gets_frame_after_frame(
    netns: NetNs, config: Path
) -> None:
    # A script's `&`, for example, has Ctrl-C ignored by what it starts.
    ignoring = ("sh", "-c", 'trap "" INT; exec "$0" "$@"')
    argv = (*ignoring, sys.executable, "-m", "sockmon", "top", "--config", str(config))
    with (
        states.established(netns, count=3),
        Terminal.running(netns, argv, environment={"TERM": "dumb"}) as top,
    ):
        eventually(lambda: top.written.count(b"OK  the"), until=lambda seen: seen >= 2)
        assert b"\x1b" not in top.written
        assert b"6 ESTABLISHED  1 LISTEN" in top.written
        top.press("\x03")
        assert top.process.wait(PATIENCE) == 130


def test_a_daemon_seen_from_its_host(netns: NetNs, config: Path) -> None:
    with (
        experiments.process_killed(netns, count=12) as leak,
        running_daemon(netns, "--config", str(config)) as daemon,
    ):
        daemon.wait_for_polls(10)
        with sockmon_top(netns, "--url", URL) as top:
            top.shows("WARNING", URL, f"inbound {leak.held.port} python")
            top.shows_row(str(leak.held.port), "inbound", "13", "12")
            # What the daemon remembers is there: more than what this command saw itself.
            eventually(
                lambda: next(line for line in top.lines() if " LISTEN " in line),
                until=lambda spark: len(re.findall("[▁▂▃▄▅▆▇█]", spark)) >= 2,
            )
            top.press("g")
            top.shows("OWNERS", "By unit and container, which a daemon tells")
            top.press("g")
            top.shows("PEERS", "the busiest destinations", f"127.0.0.1:{leak.held.port}")


def test_a_daemon_that_goes_is_missed_and_welcomed_back(netns: NetNs, config: Path) -> None:
    with (
        running_daemon(netns, "--config", str(config)) as daemon,
        sockmon_top(netns, "--url", URL, size=(120, 40)) as top,
    ):
        top.shows("OK  the")
        daemon.stop()
        lines = top.shows("UNKNOWN", "Connection refused", "until then: OK")
        assert lines[0].startswith(" UNKNOWN  no news for ")
        assert " as of " in lines[1]
        top.shows("no news for 3s")
        with running_daemon(netns, "--config", str(config)):
            assert " as of " not in top.shows("OK  the sockets")[1]


def test_a_daemon_that_stops_polling_is_not_believed(netns: NetNs, config: Path) -> None:
    with (
        running_daemon(netns, "--config", str(config)) as daemon,
        sockmon_top(netns, "--url", URL) as top,
    ):
        top.shows("OK  the")
        daemon.signal(signal.SIGSTOP)
        try:
            top.shows("UNKNOWN", "until then: OK")
        finally:
            daemon.signal(signal.SIGCONT)
        top.shows("OK  the sockets")


def test_names_that_processes_chose_are_shown_escaped(
    netns: NetNs, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = tmp_path / "\x1b[31m[b]\x07x"
    hostile.symlink_to(os.path.realpath(sys.executable))
    with ExitStack() as stack:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "executable", str(hostile))
            leak = stack.enter_context(experiments.process_killed(netns, count=12))
        top = stack.enter_context(sockmon_top(netns, "--config", str(config), size=(120, 40)))
        shown = f"\\x1b[31m[b]\\x07x leaking_server.py[{leak.process.pid}]"
        top.shows("WARNING", "\\x1b[31m[b]\\x07x leaking_server.py has not closed 12 connections")
        top.press("g")
        top.shows("OWNERS", f"!  {shown}")
        assert b"\x1b[31m[b]" not in top.written


def test_without_privilege_it_says_what_is_hidden(netns: NetNs) -> None:
    argv = (*NOBODY, sys.executable, "-m", "sockmon", "top")
    with states.established(netns, count=3), Terminal.running(netns, argv) as top:
        top.shows("OK  the")
        top.press("g")
        top.shows("processes could not be read")
