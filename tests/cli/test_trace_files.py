"""`sockmon trace --read`: files that are no captures, or damaged ones; options that do not fit."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.tracing import SOCKMON, trace
from tests.unit.trace.making import Talk, ip_packet, pcap

RAW = 101


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    talk = Talk()
    segments = [*talk.handshake(), talk.say("c", "F."), talk.say("s", "F."), talk.say("c", ".")]
    file = tmp_path / "one.pcap"
    file.write_bytes(pcap([(s.time, ip_packet(s)) for s in segments], RAW, nanoseconds=True))
    return file


def test_a_cut_file_shows_what_it_has_and_one_line(capture: Path) -> None:
    capture.write_bytes(capture.read_bytes()[:-5])
    done = trace("--read", str(capture), "--format", "json")
    assert done.returncode == 1
    found, _ = map(json.loads, done.stdout.splitlines())
    assert found["how"] == "closing"
    assert done.stderr == (
        f"sockmon: {capture}: cut off at byte {capture.stat().st_size}, amid what begins at byte "
        "304\n"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory"),
        (b"", "empty"),
        (b"# A text.\n" * 100, "neither pcap nor pcapng"),
        (b"\x1f\x8b" + bytes(100), "compressed by gzip: zcat FILE | sockmon trace --read -"),
    ],
)
def test_what_is_no_capture_is_one_line(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    file = tmp_path / "file"
    if content is not None:
        file.write_bytes(content)
    done = trace("--read", str(file))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"sockmon: {file}: {message}\n"


def test_a_directory_and_an_endless_file_of_zeros(tmp_path: Path, capture: Path) -> None:
    done = trace("--read", str(tmp_path))
    assert (done.returncode, done.stderr) == (
        2,
        f"sockmon: {tmp_path}: a directory, not a capture\n",
    )
    size = capture.stat().st_size
    os.truncate(capture, 100 << 30)  # sparse: as after a crash, when the file was not written
    done = trace("--read", str(capture))
    assert done.returncode == 1
    assert done.stderr.endswith(f": only zeros from byte {size}: not written to its end\n")
    assert "closed: client first, three segments" in done.stdout


def test_a_pipe_is_read_as_it_comes(capture: Path) -> None:
    done = subprocess.run(
        [*SOCKMON, "trace", "--read", "-", "--format", "lines"],
        input=capture.read_bytes(),
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode().splitlines()[-1] == "1 connection, 6 segments; 0 packets dropped"


def test_several_files_are_one_trace_and_one_that_fails_leaves_the_others(
    tmp_path: Path, capture: Path
) -> None:
    missing = tmp_path / "missing"
    done = trace("--read", str(missing), str(capture))
    assert done.returncode == 1
    assert "missing: No such file" in done.stderr
    assert "1 connection, 6 segments" in done.stdout


def test_parts_of_a_capture_are_read_in_their_order(tmp_path: Path, capture: Path) -> None:
    data = capture.read_bytes()
    first, second = tmp_path / "part10", tmp_path / "part2"
    first.write_bytes(data[: 24 + 56 * 2])
    second.write_bytes(data[:24] + data[24 + 56 * 2 :])
    done = trace("--read", str(second), str(first), "--format", "json")
    (found, end) = map(json.loads, done.stdout.splitlines())
    assert (found["how"], found["segments"], end["segments"]) == ("closed", 3, 6)


def test_headers_that_cannot_be_written_are_one_line(capture: Path) -> None:
    done = trace("--read", str(capture), "--write", "/dev/full")
    assert done.returncode == 2
    assert done.stderr == "sockmon: --write: /dev/full: No space left on device\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--port", "htpt"], "--port: 'htpt' is not a port"),
        (["--host", "example.org"], "--host: 'example.org' is not an IP address"),
        (["--for", "1 minute"], "--for: '1 minute': expected a duration"),
        (["--count", "0"], "--count: 0 is not 1 or more"),
        (["--opens", "--closes"], "not allowed with"),
        (["--read", "FILE", "--for", "1s"], "--for: not with --read"),
        (["--read", "FILE", "--device", "lo"], "--device: not with --read"),
        (["--write", "/nowhere/file", "--read", "FILE"], "--write: /nowhere/file: No such file"),
        (["--write", "FILE", "--read", "FILE"], "is a file to be read"),
    ],
)
def test_options_that_do_not_fit_are_one_line(
    capture: Path, options: list[str], message: str
) -> None:
    done = trace(*(str(capture) if option == "FILE" else option for option in options))
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_ports_and_hosts_choose(capture: Path) -> None:
    for options, count in (
        (["--port", "http"], 1),
        (["--port", "81"], 0),
        (["--port", "81", "--port", "40000"], 1),
        (["--host", "10.0.0.2"], 1),
        (["--host", "::1"], 0),
        (["--host", "10.0.0.1", "--port", "81"], 0),
    ):
        done = trace("--read", str(capture), "--format", "json", *options)
        assert json.loads(done.stdout.splitlines()[-1])["connections"] == count, options
