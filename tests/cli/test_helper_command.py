"""`sockmon netns-helper` says in one line what is wrong; commands by hand do without it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

#: What makes a command see no network namespaces but its own, if root starts it; others see none.
ALONE = ("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")


def sockmon(
    *arguments: str, environment: dict[str, str] | None = None, prefix: tuple[str, ...] = ()
) -> tuple[int, str]:
    """The exit status, and what went to standard error."""
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "sockmon", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    return done.returncode, done.stderr


def test_without_a_socket_it_says_where_one_comes_from() -> None:
    status, told = sockmon("netns-helper", environment={"LISTEN_PID": "1", "LISTEN_FDS": "1"})
    assert status == 2
    assert told == (
        "sockmon: no socket was passed: start sockmon-netns.socket, or name a socket with "
        "--socket\n"
    )


@pytest.fixture
def taken(tmp_path: Path) -> Path:
    """A path where there is something else, as the test wants it."""
    return tmp_path / "taken"


def test_a_file_that_is_no_socket_is_left_alone(taken: Path) -> None:
    taken.write_text("precious")
    status, told = sockmon("netns-helper", f"--socket={taken}")
    assert status == 2
    assert told == f"sockmon: cannot listen on {taken}: there is a file that is not a socket\n"
    assert taken.read_text() == "precious"


def test_a_socket_that_another_listens_on_is_left_alone(taken: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
        other.bind(str(taken))
        other.listen()
        status, told = sockmon("netns-helper", f"--socket={taken}")
        assert status == 2
        assert told == f"sockmon: cannot listen on {taken}: another process listens there\n"
        assert taken.is_socket()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--socket=/nowhere/socket",), "cannot listen on /nowhere/socket: No such file or"),
        ((f"--socket=/tmp/{'x' * 200}",), "AF_UNIX path too long"),
        (("--user=no-such-user", "--socket=/nowhere"), "--user: there is no user no-such-user"),
        (("--user=4294967295", "--socket=/nowhere"), "--user: 4294967295 is no user's number"),
        ((f"--user={'9' * 5000}", "--socket=/nowhere"), "--user: 99999999999999999999... is no"),
    ],
)
def test_a_mistake_costs_one_line(arguments: tuple[str, ...], says: str) -> None:
    status, told = sockmon("netns-helper", *arguments)
    assert status == 2
    assert says in told
    assert told.count("\n") == 1


def test_a_command_by_hand_does_not_ask_the_daemons_helper(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("poll: {namespaces: all, netns_helper_socket: /nowhere/socket}")
    prefix = ALONE if os.geteuid() == 0 else ()
    status, told = sockmon("count", f"--config={config}", "--by=netns", prefix=prefix)
    assert status == 0
    assert "/nowhere" not in told


@pytest.mark.parametrize("helper", ["run/socket", "''", "5"])
def test_the_key_takes_an_absolute_path(tmp_path: Path, helper: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"poll: {{netns_helper_socket: {helper}}}")
    status, told = sockmon("check-config", str(config))
    assert status == 1
    assert f"{config}:1: poll.netns_helper_socket" in told
