"""Recordings: what is replaced, what any file is answered, and what is said of those kept."""

import gzip
import ipaddress
import json
import os
import signal
import struct
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.commands.cli import main
from sockmon.commands.record import _rest
from sockmon.kernel.netlink import uapi, unixdiag
from sockmon.poll.poller import Poller
from sockmon.recording.anonymous import Anonymous
from sockmon.recording.file import RecordingError, Writer, check
from sockmon.recording.playback import Playback
from sockmon.recording.recorder import Recorder
from sockmon.settings import Config
from tests.recorded import CASES

Run = Callable[..., tuple[int, str, str]]
LEAK = CASES / "leak.rec"


@pytest.fixture
def sockmon(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(arguments, lambda _: pytest.fail("it asks the kernel"))
        return status, *capsys.readouterr()

    return run


def test_what_a_recording_has_is_counted(sockmon: Run) -> None:
    status, out, err = sockmon(
        "count", "--replay", str(LEAK), "--by", "state,owner", "--format", "plain"
    )
    assert (status, err) == (0, "")
    assert "close_wait program-1[1001] 12" in out
    note = "note: a recording of 186 s, by sockmon "
    assert note in sockmon("doctor", "--replay", str(LEAK))[1]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def written(path: Path, *content: dict[str, Any]) -> Path:
    path.write_bytes(gzip.compress("".join(f"{json.dumps(line)}\n" for line in content).encode()))
    return path


def test_nothing_of_the_host_is_in_a_recording() -> None:
    for path in CASES.glob("*.rec"):
        for line in lines(path):
            for its in line.get("processes", {}).values():
                assert its["files"]["comm"].startswith("program-")
                kinds = {"comm", "cmdline", "stat", "cgroup", "limits", "wchan"}
                assert set(its["files"]) <= kinds
                assert not any("/" in link for link in its["links"])


@pytest.mark.parametrize("command", ["doctor", "count", "run"])
def test_a_cut_file_is_one_line(sockmon: Run, tmp_path: Path, command: str) -> None:
    whole = LEAK.read_bytes()
    cut = tmp_path / "cut.rec"
    cut.write_bytes(whole[: len(whole) // 2])
    status, out, err = sockmon(command, "--replay", str(cut))
    assert (status in (2, 3), out) == (True, "")
    assert err.startswith(f"sockmon: {cut}: ")
    assert err.count("\n") == 1
    assert "copy" in err


@given(st.just(1.0) | st.floats(0, 0.9999))
def test_a_file_is_whole_or_refused(tmp_path_factory: pytest.TempPathFactory, share: float) -> None:
    """Cut anywhere."""
    path = tmp_path_factory.mktemp("any") / "any.rec"
    whole = LEAK.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    if share == 1:
        Playback(path).close()
    else:
        with pytest.raises(RecordingError):
            Playback(path)


def test_an_interrupt_in_the_middle_of_a_poll_ends_a_recording_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Polled(Recorder):
        def poll(self, at: float) -> Mapping[str, Any]:
            return {"at": at, "dumps": {}, "files": {}}

    write = Writer._write  # noqa: SLF001 - a key is pressed inside of it

    def interrupted(self: Writer, line: Mapping[str, Any]) -> None:
        write(self, line)
        if "at" in line:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)

    path = tmp_path / "fault.rec"
    writer = Writer(path, check(LEAK)[0])
    monkeypatch.setattr(Writer, "_write", interrupted)
    _rest(Polled(None), writer, path, 600.0, 0.01)
    writer.close()
    assert len(check(path)[1]) == 1


def test_damage_that_shows_while_it_is_played_is_no_bug_of_sockmons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = lines(LEAK)
    content[2]["dumps"] = {"tcp": ["!"]}
    playback = Playback(written(tmp_path / "fault.rec", *content))
    monkeypatch.setattr(time, "monotonic", iter((0.0, *[60.0] * 1000)).__next__)
    playback.play()
    poller = Poller(playback.open_source(lambda: False), Config())
    observation = poller.poll(playback.clock)
    assert observation.failures == (), "it was asked again, and the polls behind it are whole"
    assert observation.namespaces[0].tcp is not None
    poller.close()
    playback.close()


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.write_text("no recording")
    with pytest.raises(RecordingError, match="not a recording: sockmon record makes them"):
        check(foreign)
    with pytest.raises(RecordingError, match="not a recording"):
        check(written(foreign, {"another": "format"}))
    with pytest.raises(RecordingError, match="cannot read it: No such file"):
        check(tmp_path / "none")


def test_a_later_format_is_refused_and_later_keys_are_not(tmp_path: Path) -> None:
    head, *rest = lines(LEAK)
    path = tmp_path / "later.rec"
    check(written(path, {**head, "new": 1}, *({**line, "new": {}} for line in rest)))
    with pytest.raises(RecordingError, match=r"format 2, by sockmon '9.0': this sockmon reads"):
        check(written(path, {**head, "sockmon_recording": 2, "sockmon": "9.0"}, *rest))
    # Thresholds that this version has not, or would refuse, are no reason to refuse the rest.
    odd = {"close_wait_leak": {"of_the_future": 1, "warning_sockets": 5}, "unheard_of": {}}
    Playback(written(path, {**head, "detect": odd}, *rest)).close()


@pytest.mark.parametrize(
    "damage",
    [
        {"dumps": {"../../escape": []}},
        {"files": {"/etc/passwd": "x"}},
        {"files": {"a/../../b": "x"}},
        {"processes": {"x": {"files": {}, "links": []}}},
        {"processes": {"7": {"files": {}, "links": ["/etc/passwd"]}}},
        {"dumps": {"tcp": ["no base64!"]}},
        {"dumps": None},
        {"events": [["sideways", 80, {}]]},
        {"events": [["inbound", 80, {"opened": -1}]]},
        {"events": [["inbound", 80, {"connect": [1]}]]},
        {"events": [["inbound", 70000, {}]]},
        {"files": 7},
    ],
    ids=str,
)
def test_a_malicious_recording_writes_nowhere_else(tmp_path: Path, damage: dict[str, Any]) -> None:
    head, first, *rest = lines(LEAK)
    path = written(tmp_path / "bad.rec", head, {**first, **damage}, *rest)
    with pytest.raises(RecordingError, match="poll 1 of the recording is damaged"):
        Playback(path)
    assert [each.name for each in tmp_path.iterdir()] == ["bad.rec"]


def message(body: bytes) -> bytes:
    length = uapi.NLMSG_HEADER_BYTES + len(body)
    return struct.pack("=IHHII", length, uapi.SOCK_DIAG_BY_FAMILY, 2, 1, 0) + body


def inet(local: str, remote: str) -> bytes:
    ends = [ipaddress.ip_address(each) for each in (local, remote)]
    packed = b"".join(end.packed.ljust(16, b"\0") for end in ends)
    family = 2 if ends[0].version == 4 else 10
    return message(bytes([family, 1, 0, 0]) + b"\x1f\x90\xc0\x00" + packed + bytes(32))


PAIRS = st.one_of(*(st.tuples(*2 * [st.ip_addresses(v=v).map(str)]) for v in (4, 6)))


@given(PAIRS)
def test_addresses_are_replaced_each_by_one(pair: tuple[str, str]) -> None:
    one, other = pair
    hide = Anonymous(b"salt")
    there, back = hide.datagram(inet(one, other)), hide.datagram(inet(other, one))
    assert len(there) == len(inet(one, other))
    assert (there[24:40], there[40:56]) == (back[40:56], back[24:40])
    assert (there[24:40] == there[40:56]) == (one == other)
    assert there[:24] == inet(one, other)[:24], "family, state and ports stay"
    for address, replaced in ((one, there[24:40]), (other, there[40:56])):
        ip = ipaddress.ip_address(address)
        packed = ip.packed.ljust(16, b"\0")
        keeps = ip.is_loopback or ip.is_unspecified
        assert not keeps or replaced == packed


def test_mapped_addresses_stay_the_same_host() -> None:
    hide = Anonymous(b"salt")
    plain = hide.address(ipaddress.ip_address("192.0.2.7").packed)
    assert hide.address(ipaddress.ip_address("::ffff:192.0.2.7").packed)[12:] == plain
    assert hide.address(b"\x7f\0\0\1") == b"\x7f\0\0\1"


@given(st.binary(min_size=1, max_size=60))
def test_a_unix_socket_keeps_its_layout_and_not_its_name(name: bytes) -> None:
    padded = name + bytes(-len(name) % 4)
    body = struct.pack("=BBBxIQ", unixdiag.AF_UNIX, 1, 10, 7, 7)
    whole = message(body + struct.pack("=HH", 4 + len(name), 0) + padded)
    hide = Anonymous(b"salt")
    hidden = hide.datagram(whole)
    assert len(hidden) == len(whole)
    assert hidden == hide.datagram(whole)
    assert hidden[: uapi.NLMSG_HEADER_BYTES + 20] == whole[: uapi.NLMSG_HEADER_BYTES + 20]


@given(st.binary(max_size=200))
def test_any_bytes_are_replaced_without_an_error(datagram: bytes) -> None:
    assert len(Anonymous(b"").datagram(datagram)) == len(datagram)


def test_units_and_containers_are_replaced_and_stay_what_they_are() -> None:
    hide = Anonymous(b"salt")
    container = "ab" * 32
    path = hide.cgroup(f"/kubepods.slice/docker-{container}.scope")
    assert path.startswith("/kubepods.slice/docker-")
    assert container not in path
    assert hide.cgroup("/system.slice/payments@eu.service/worker") == (
        "/system.slice/unit-1.service/unit-2"
    )
    assert hide.cgroup("/system.slice/payments@eu.service") == "/system.slice/unit-1.service"
    assert (hide.pid(1), hide.pid(4711), hide.pid(12), hide.pid(4711)) == (1, 1001, 1002, 1001)
