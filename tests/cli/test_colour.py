"""Colours, in a real pseudo-terminal and in a pipe: they add nothing but themselves."""

import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pyte
import pytest

from tests.recorded import MIXED, QUIET

_PROGRAM = """\
import sys
from pathlib import Path
from sockmon.kernel.netlink.replay import replay
from sockmon.commands.cli import main
sys.exit(main(sys.argv[2:], lambda _: replay(Path(sys.argv[1]))))
"""
_SPEAKS_OF_COLOUR = {"NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TERM"}
_NOTHING: Mapping[str, str] = {}
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
_SECONDS = re.compile(r"\b\d+s\b")  # how long doctor's two polls were apart
_FINDING = "detect:\n  time_wait_pressure: {warning_ratio: 0.0001, critical_ratio: 0.0002}\n"


def environment(said: Mapping[str, str]) -> dict[str, str]:
    silent = {name: value for name, value in os.environ.items() if name not in _SPEAKS_OF_COLOUR}
    return {**silent, "TERM": "xterm-256color", **said}


def in_pipe(*arguments: str, recording: Path = MIXED, said: Mapping[str, str] = _NOTHING) -> str:
    command = [sys.executable, "-c", _PROGRAM, str(recording), *arguments]
    ended = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        env=environment(said),
        text=True,
        check=False,
    )
    return ended.stdout


def on_terminal(
    *arguments: str, recording: Path = MIXED, said: Mapping[str, str] = _NOTHING
) -> str:
    """What the program writes to a terminal, whose own line ends are taken back."""
    command = [sys.executable, "-c", _PROGRAM, str(recording), *arguments]
    master, slave = pty.openpty()
    written = bytearray()

    def read() -> None:
        try:
            while data := os.read(master, 65536):
                written.extend(data)
        except OSError:  # EIO: nobody has the terminal open any more
            pass

    reader = threading.Thread(target=read)
    reader.start()
    try:
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=slave,
            env=environment(said),
            check=False,
        )
    finally:
        os.close(slave)
        reader.join()
        os.close(master)
    return written.decode().replace("\r\n", "\n")


def colours(text: str) -> Mapping[str, str]:
    """Show it on a screen; returns the colour and weight in which each line begins."""
    lines = text.splitlines()
    screen = pyte.Screen(200, len(lines) + 1)
    pyte.Stream(screen).feed(text.replace("\n", "\r\n"))
    return {
        line.rstrip(): f"{screen.buffer[row][0].fg}{' bold' * screen.buffer[row][0].bold}"
        for row, line in enumerate(screen.display)
    }


def look(text: str) -> str:
    return "coloured" if _ESCAPE.search(text) else "plain"


@pytest.mark.parametrize("names", ["sockmon", "ss", "netstat"])
def test_count_marks_what_waits_for_its_application_and_nothing_else(names: str) -> None:
    shown = colours(on_terminal("count", "--state-names", names, "--by", "state,direction"))
    marked = {line.split()[0].lower() for line, colour in shown.items() if "brown" in colour}
    assert {re.sub("[-_]", "", state) for state in marked} == {"closewait"}
    assert {line.split()[0] for line, colour in shown.items() if colour == "default bold"} == {
        "STATE",
        "total",
    }


@pytest.mark.parametrize("names", ["sockmon", "ss", "netstat"])
def test_a_name_that_is_no_state_is_not_marked(names: str) -> None:
    shown = colours(
        on_terminal("count", "--state", "close_wait", "--by", "port", "--state-names", names)
    )
    assert {colour for line, colour in shown.items() if line[:1].isdigit()} == {"default"}


@pytest.mark.parametrize(
    ("recording", "config", "verdict", "colour"),
    [
        (QUIET, "", "OK", "green"),
        (MIXED, "", "WARNING", "brown bold"),
        (MIXED, _FINDING, "CRITICAL", "red bold"),
        (None, "", "UNKNOWN", "magenta bold"),
    ],
    ids=["ok", "warning", "critical", "unknown"],
)
def test_doctor_gives_the_verdict_and_each_finding_the_colour_of_its_severity(
    recording: Path | None, config: str, verdict: str, colour: str, tmp_path: Path
) -> None:
    (tmp_path / "dumps").mkdir()
    file = tmp_path / "config.yaml"
    file.write_text(config)
    shown = colours(on_terminal("doctor", "--config", str(file), recording=recording or tmp_path))
    assert [line_colour for line, line_colour in shown.items() if line.startswith(verdict)] == [
        colour
    ]
    by_severity = {"[warning]": "brown bold", "[critical]": "red bold"}
    headings = {line: seen for line, seen in shown.items() if line.startswith("[")}
    assert all(seen == by_severity[line.split()[0]] for line, seen in headings.items())
    assert any(verdict.lower() in line for line in headings) == (verdict in {"WARNING", "CRITICAL"})


@pytest.mark.parametrize("command", [("count",), ("count", "--by", "state,port"), ("doctor",)])
def test_without_its_colours_it_is_what_a_pipe_gets(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    # Recorded half-open connections do not go on: what they are depends on when it looks again.
    file = tmp_path / "config.yaml"
    file.write_text("detect: {syn_backlog: {enabled: false}}")
    arguments = (*command, "--config", str(file))
    coloured = on_terminal(*arguments)
    assert look(coloured) == "coloured"
    plain = in_pipe(*arguments)
    assert _SECONDS.sub("", _ESCAPE.sub("", coloured)) == _SECONDS.sub("", plain)


@pytest.mark.parametrize(
    ("arguments", "said", "expected"),
    [
        ((), {}, "coloured"),
        ((), {"NO_COLOR": "1"}, "plain"),
        ((), {"NO_COLOR": ""}, "coloured"),
        ((), {"NO_COLOR": "1", "FORCE_COLOR": "1"}, "plain"),
        ((), {"TERM": "dumb"}, "plain"),
        ((), {"TERM": "dumb", "CLICOLOR_FORCE": "1"}, "coloured"),
        ((), {"TERM": ""}, "plain"),
        ((), {"CLICOLOR": "0"}, "plain"),
        ((), {"CLICOLOR": "1"}, "coloured"),
        (("--color", "never"), {"FORCE_COLOR": "1"}, "plain"),
        (("--color", "always"), {"NO_COLOR": "1"}, "coloured"),
    ],
)
def test_a_terminal_has_colours_unless_its_user_wants_none(
    arguments: tuple[str, ...], said: dict[str, str], expected: str
) -> None:
    assert look(on_terminal("count", *arguments, said=said)) == expected


@pytest.mark.parametrize(
    ("arguments", "said", "expected"),
    [
        ((), {}, "plain"),
        ((), {"CLICOLOR": "1"}, "plain"),
        ((), {"FORCE_COLOR": "1"}, "coloured"),
        ((), {"FORCE_COLOR": "0"}, "plain"),
        ((), {"CLICOLOR_FORCE": "1"}, "coloured"),
        ((), {"CLICOLOR_FORCE": ""}, "plain"),
        ((), {"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, "plain"),
        (("--color", "always"), {}, "coloured"),
        (("--color", "never"), {"CLICOLOR_FORCE": "1"}, "plain"),
    ],
)
def test_a_pipe_has_no_colours_unless_they_are_asked_for(
    arguments: tuple[str, ...], said: dict[str, str], expected: str
) -> None:
    assert look(in_pipe("count", *arguments, said=said)) == expected


@pytest.mark.parametrize(
    "command",
    [
        ("count", "--format", "json"),
        ("count", "--format", "csv"),
        ("count", "--format", "plain"),
        ("doctor", "--format", "json"),
    ],
)
def test_what_is_for_programs_is_never_coloured(command: tuple[str, ...]) -> None:
    written = on_terminal(*command, "--color", "always", said={"FORCE_COLOR": "1"})
    assert "close_wait" in written or '"findings"' in written
    assert "\x1b" not in written


def test_sockmon_alone_on_a_terminal_is_doctor_and_what_comes_next() -> None:
    shown = on_terminal(recording=QUIET)
    assert shown.startswith("\x1b[32mOK\x1b[0m: the sockets are healthy\n")
    *_, heading, top, explain, help_ = shown.splitlines()
    assert heading == "next:"
    assert [line.split()[1] for line in (top, explain, help_)] == ["top", "explain", "--help"]
    assert "接下来可以：" in on_terminal(recording=QUIET, said={"LC_ALL": "zh_CN.UTF-8"})
    assert in_pipe(recording=QUIET) == "", "a script's mistake is none"
