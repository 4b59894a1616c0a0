"""`sockmon count` of every protocol and key, compared with what was made and what `ss` lists."""

import json
import os
import re
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.lab import AddressKind, NetNs, mptcp, states
from tests.without_sock_diag import __name__ as launcher

pytestmark = pytest.mark.root


ODD_PATH = b"odd \xff\\ path"
ABSTRACT = b"\0abstract\nname"


def counted(netns: NetNs, *arguments: str, prefix: tuple[str, ...] = ()) -> dict[str, Any]:
    argv = [*prefix, sys.executable, "-m", "sockmon", "count", "--format", "json", *arguments]
    answer: dict[str, Any] = json.loads(netns.run(argv).stdout)
    return answer


def groups(answer: dict[str, Any], *keys: str) -> Counter[tuple[Any, ...]]:
    return Counter({tuple(g[key] for key in keys): g["count"] for g in answer["groups"]})


@pytest.fixture
def mixed(netns: NetNs, tmp_path: Path) -> Iterator[dict[str, int]]:
    """UDP served and asked, Unix listeners of all kinds of names; ports by name."""
    with ExitStack() as stack:

        def unix(kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
            return stack.enter_context(netns.socket(socket.AF_UNIX, kind))

        server = stack.enter_context(netns.socket(kind=socket.SOCK_DGRAM))
        server.bind(("127.0.0.1", 0))
        for _ in range(3):
            client = stack.enter_context(netns.socket(kind=socket.SOCK_DGRAM))
            client.connect(server.getsockname())
        descriptor = os.open(tmp_path, os.O_RDONLY)
        stack.callback(os.close, descriptor)
        for name in (os.fsencode(f"/proc/self/fd/{descriptor}/") + ODD_PATH, ABSTRACT):
            listener = unix()
            listener.bind(name)
            listener.listen()
            for _ in range(2):
                unix().connect(name)
                stack.enter_context(listener.accept()[0])
        unix(socket.SOCK_DGRAM)
        yield {"udp": server.getsockname()[1], "directory": descriptor}


def test_each_protocol_is_what_ss_lists(netns: NetNs, mixed: dict[str, int]) -> None:
    assert mixed
    with states.close_wait(netns, AddressKind.IPV4, count=3):
        answer = counted(netns, "--by", "protocol")
        listed = {
            kind: netns.call(subprocess.run, ["ss", option], check=True, capture_output=True).stdout
            for kind, option in (("tcp", "-Htan"), ("udp", "-Huan"), ("unix", "-Hxa"))
        }
    lines = {kind: text.count(b"\n") for kind, text in listed.items()}
    lines["unix"] = len(re.findall(rb"^u_", listed["unix"], re.MULTILINE))  # a name may break lines
    assert groups(answer, "protocol") == Counter({(k,): n for k, n in lines.items()})
    assert lines["udp"] == 4
    assert lines["unix"] == 11


def test_udp_is_counted_by_the_port_that_is_served(netns: NetNs, mixed: dict[str, int]) -> None:
    port = mixed["udp"]
    answer = counted(netns, "--protocol", "udp", "--by", "direction,port,state,listener")
    assert groups(answer, "direction", "port", "state", "listener") == {
        ("inbound", port, "close", f"127.0.0.1:{port}"): 1,
        ("outbound", port, "established", "-"): 3,
    }
    assert counted(netns, "--protocol", "udp", "--port", str(port))["total"] == 4


@pytest.mark.parametrize("refused", [False, True], ids=["sock_diag", "/proc/net"])
def test_unix_sockets_are_counted_by_path(
    netns: NetNs, mixed: dict[str, int], *, refused: bool
) -> None:
    path = f"/proc/self/fd/{mixed['directory']}/odd \\xff\\x5c path"
    prefix = (sys.executable, "-m", launcher, "EPERM") if refused else ()
    answer = counted(netns, "--protocol", "unix", "--by", "listener,state", prefix=prefix)
    found = groups(answer, "listener", "state")
    assert found[path, "listen"] == 1
    assert found[path, "established"] == 2
    assert found["-", "established"] == 4
    assert found["-", "close"] == 1
    abstract = "@abstract" if refused else "@abstract\\x0aname"  # the rest is on another line there
    assert found[abstract, "listen"] == 1
    assert answer["total"] == 11
    assert ("hints" in answer) is refused


def test_tcp_is_counted_by_listener(netns: NetNs) -> None:
    with (
        states.established(netns, AddressKind.IPV4, count=3) as first,
        states.established(netns, AddressKind.IPV6, count=2) as second,
    ):
        answer = counted(netns, "--by", "listener,direction", "--state", "established")
        pids = counted(netns, "--by", "pid,protocol", "--state", "established")
    listeners = groups(answer, "direction", "listener")
    assert listeners["outbound", "-"] == 5
    inbound = {name: n for (way, name), n in listeners.items() if way == "inbound"}
    assert sorted(inbound.values()) == [2, 3]
    for name, n in inbound.items():
        assert name.endswith(f":{(first if n == 3 else second).port}")
    assert groups(pids, "pid", "protocol") == {(os.getpid(), "tcp"): 10}


def test_mptcp_is_a_part_of_tcp(netns: NetNs) -> None:
    with (
        mptcp.established(netns, AddressKind.IPV4, 3),
        states.established(netns, AddressKind.IPV6, count=2),
    ):
        both = counted(netns, "--by", "protocol,state", "--protocol", "tcp")
        part = counted(netns, "--by", "state", "--protocol", "mptcp")
    found = groups(both, "protocol", "state")
    assert found["mptcp", "established"] == 6
    assert found["tcp", "established"] == 4
    assert groups(part, "state")["established",] == 6


def test_top_leaves_groups_out_and_says_how_many(netns: NetNs) -> None:
    with states.close_wait(netns, AddressKind.IPV4, count=7):
        argv = [sys.executable, "-m", "sockmon", "count", "--by", "state,direction", "--top", "1"]
        table = netns.run(argv).stdout.splitlines()
        answer = counted(netns, "--by", "state,direction", "--top", "1")
    assert table[1].split() == ["close_wait", "inbound", "7"]
    assert table[2].split() == ["(2", "more)", "8"]
    assert table[3].split() == ["total", "15"]
    assert (len(answer["groups"]), answer["left_out"], answer["total"]) == (1, 2, 15)


def test_watch_counts_until_it_is_interrupted(netns: NetNs) -> None:
    argv = [sys.executable, "-m", "sockmon", "count", "--watch", "0.1", "--format", "json"]
    with netns.popen(argv) as process:
        assert process.stdout is not None
        before = json.loads(process.stdout.readline())
        with states.close_wait(netns, AddressKind.IPV4, count=3):
            found = before
            while not any(g == {"state": "close_wait", "count": 3} for g in found["groups"]):
                found = json.loads(process.stdout.readline())
        process.terminate()
    assert before["total"] == 0
    assert found["taken_at"] > before["taken_at"]
