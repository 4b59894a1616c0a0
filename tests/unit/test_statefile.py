"""A state is read back whole, or not at all, whatever was done to its file."""

import errno
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.contained import COMPONENTS
from sockmon.state.file import AnotherBootError, StateError, StateFile, boot_id
from sockmon.state.store import SAVE_SECONDS, StateStore
from sockmon.state.writer import StateWriter
from tests.lab import PATIENCE, eventually
from tests.unit.users import as_nobody

BOOT = "f2ab0d41-4d0d-4b3b-9a4c-3a4dd4b1a8a5"
STATE = {"alerts": [{"owner": "x\ny\udcff", "since": [1.5, 2.25]}], "remembered": {"80": None}}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@pytest.fixture
def file(tmp_path: Path) -> StateFile:
    return StateFile(tmp_path / "state", BOOT)


@given(st.dictionaries(st.text(), json_values))
def test_what_is_written_is_read(tmp_path_factory: Any, state: dict[str, Any]) -> None:
    file = StateFile(tmp_path_factory.mktemp("state") / "state", BOOT)
    for value in ({"older": 1}, state):
        file.write(value)
    assert file.read() == state
    assert [path.name for path in file.path.parent.iterdir()] == ["state"]
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_no_file_is_no_state(file: StateFile) -> None:
    assert file.read() is None


def why_not(file: StateFile) -> str:
    with pytest.raises(StateError) as caught:
        file.read()
    text = str(caught.value)
    assert text.startswith(f"{file.path}: ")
    return text.removeprefix(f"{file.path}: ")


def test_a_file_torn_at_any_byte_is_no_state(file: StateFile) -> None:
    file.write(STATE)
    whole = file.path.read_bytes()
    for end in range(len(whole)):
        file.path.write_bytes(whole[:end])
        assert why_not(file) in ("damaged", "not a state of ours")


@given(st.data())
def test_a_file_changed_at_any_byte_is_no_state(tmp_path_factory: Any, data: st.DataObject) -> None:
    file = StateFile(tmp_path_factory.mktemp("state") / "state", BOOT)
    file.write(STATE)
    whole = bytearray(file.path.read_bytes())
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    file.path.write_bytes(whole)
    why_not(file)


@given(st.binary(max_size=200))
def test_any_other_file_is_no_state(tmp_path_factory: Any, content: bytes) -> None:
    file = StateFile(tmp_path_factory.mktemp("state") / "state", BOOT)
    for text in (content, b"sockmon-state 1 " + content):
        file.path.write_bytes(text)
        why_not(file)


def test_another_boots_state_is_told_from_a_broken_one(file: StateFile) -> None:
    StateFile(file.path, boot_id()).write(STATE)
    assert StateFile(file.path, boot_id()).read() == STATE
    with pytest.raises(AnotherBootError, match="of another boot"):
        file.read()


def test_another_versions_state_is_not_read(file: StateFile) -> None:
    file.write(STATE)
    file.path.write_bytes(file.path.read_bytes().replace(b"state 1", b"state 2", 1))
    assert why_not(file) == "of another version of sockmon"


def test_a_huge_file_is_not_read(file: StateFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sockmon.state.file.SIZE_LIMIT", 1000)
    file.path.write_bytes(bytes(1001))
    assert why_not(file) == "larger than 1000 bytes: not a state of ours"
    with pytest.raises(StateError, match="would be larger than 1000 bytes"):
        file.write({"x": "x" * 1000})


def test_what_is_no_file_is_not_read(file: StateFile) -> None:
    os.mkfifo(file.path)
    assert why_not(file) == "cannot read it: not a regular file"  # and does not wait
    file.path.unlink()
    file.path.mkdir()
    assert why_not(file) == "cannot read it: Is a directory"
    with pytest.raises(StateError, match="cannot write it: Is a directory"):
        file.write(STATE)


def test_what_may_not_be_read_or_written_is_told(file: StateFile) -> None:
    file.write(STATE)
    with as_nobody():
        assert why_not(file) == "cannot read it: Permission denied"
        with pytest.raises(StateError, match="cannot write it: Permission denied"):
            file.write({})
    assert file.read() == STATE


def test_a_link_that_somebody_put_there_is_not_written_through(
    file: StateFile, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "state.new").symlink_to(victim)
    with pytest.raises(StateError, match="cannot write it"):
        file.write(STATE)
    assert victim.read_text() == "precious"


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file of this process grow beyond 100 bytes: write(2) fails half-way."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_the_last_state(file: StateFile) -> None:
    file.write(STATE)
    with full_disk(), pytest.raises(StateError, match=os.strerror(errno.EFBIG)):
        file.write({"new": "x" * 1000})
    assert file.read() == STATE
    assert [path.name for path in file.path.parent.iterdir()] == ["state"]
    file.write({"new": 1})
    assert file.read() == {"new": 1}


def test_a_disk_that_stays_full_is_one_warning(
    file: StateFile, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    file.path.parent.chmod(0o700)
    writer = StateWriter(StateFile(file.path.parent / "missing" / "state", BOOT), "alerts")
    for number in range(3):
        writes: list[int] = []
        writer.write(lambda n=number, seen=writes: seen.append(n) or {"n": n})  # type: ignore[misc]
        eventually(lambda seen=writes: seen)  # type: ignore[misc]
    (file.path.parent / "missing").mkdir()
    writer.write(lambda: {"n": 3})
    writer.close(5)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "No such file or directory" in caplog.messages[0]


def test_a_stop_writes_what_is_wanted(file: StateFile) -> None:
    writer = StateWriter(file, "alerts")
    for number in range(100):
        writer.write(lambda n=number: {"n": n})  # type: ignore[misc]
    writer.close(5)
    assert file.read() == {"n": 99}


def test_who_waits_is_told_when_it_is_written_or_could_not_be(file: StateFile) -> None:
    writer = StateWriter(file, "alerts")
    writer.wait(0.0)  # nothing is wanted
    let = threading.Event()

    def slow() -> dict[str, int]:
        let.wait(PATIENCE)
        return {"n": 1}

    writer.write(slow)
    writer.wait(0.01)
    assert file.read() is None, "it was not waited for longer than that"
    let.set()
    writer.wait(PATIENCE)
    assert file.read() == {"n": 1}
    writer.write(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    writer.wait(PATIENCE)
    writer.close(5)


def test_the_thread_that_saves_survives_every_mistake(
    file: StateFile, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    writer = StateWriter(file, "alerts")
    before = COMPONENTS.counts.get("save.state", 0)

    def failing(error: Exception) -> dict[str, int]:
        raise error

    for error in (MemoryError(), OverflowError("too large"), KeyError("x")):
        tried: list[int] = []
        writer.write(lambda e=error, seen=tried: seen.append(1) or failing(e))  # type: ignore[misc]
        eventually(lambda seen=tried: seen)  # type: ignore[misc]
    writer.write(lambda: {"n": 1})
    writer.close(5)
    assert file.read() == {"n": 1}
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert COMPONENTS.counts["save.state"] == before + 3
    assert "cannot save alerts" in caplog.messages[0]
    assert "MemoryError" in caplog.text


class TestSections:
    def test_each_is_given_back_by_its_name(self, file: StateFile) -> None:
        store = StateStore(file, 10.0)
        assert store.take("ages") is None
        store.give("ages", lambda: {"host": [1, 2.5]})
        store.give("alerts", lambda: ["a"])
        store.close(5)
        again = StateStore(file, 20.0)
        assert again.take("ages") == {"host": [1, 2.5]}
        assert again.take("alerts") == ["a"]
        again.close(5)

    def test_one_that_nobody_has_given_yet_is_kept(self, file: StateFile) -> None:
        file.write({"at": 0.0, "sections": {"ages": {"host": 1}, "alerts": []}})
        store = StateStore(file, 10.0)
        store.give("alerts", lambda: ["new"])
        store.close(5)
        state = file.read()
        assert state is not None
        assert state["sections"] == {"ages": {"host": 1}, "alerts": ["new"]}

    def test_they_are_saved_now_and_then(self, file: StateFile) -> None:
        store = StateStore(file, 0.0)
        store.give("ages", lambda: 1)
        for second in range(0, int(SAVE_SECONDS), 5):
            store.tick(float(second))
        assert not file.path.exists()
        store.tick(SAVE_SECONDS)
        eventually(file.path.exists)
        store.close(5)

    @pytest.mark.parametrize(
        ("state", "says"),
        [
            ({"at": 1e9, "sections": {}}, "from later than now"),
            ({"at": 0.0}, "is not valid"),
            ({"at": None, "sections": {}}, "is not valid"),
            ({"at": 0.0, "sections": 7}, "is not valid"),
        ],
    )
    def test_a_state_that_cannot_be_used_costs_one_warning(
        self, file: StateFile, caplog: pytest.LogCaptureFixture, state: dict[str, Any], says: str
    ) -> None:
        file.write(state)
        store = StateStore(file, 10.0)
        assert store.take("ages") is None
        store.close(5)
        (warning,) = caplog.messages
        assert says in warning

    def test_without_a_file_nothing_is_kept(self) -> None:
        store = StateStore(None, 0.0)
        store.give("ages", lambda: 1)
        store.save()
        store.tick(100.0)
        store.close(5)


WRITES_FOR_EVER = """
import itertools, sys
from pathlib import Path
from sockmon.state.file import StateFile
file = StateFile(Path(sys.argv[1]), sys.argv[2])
for number in itertools.count():
    file.write({"n": number, "same": [number] * 5000})
"""


def test_a_killed_writer_leaves_a_whole_state(file: StateFile) -> None:
    for pause in (0.0, 0.003, 0.01, 0.02, 0.05):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITES_FOR_EVER, str(file.path), BOOT],
        )
        before = file.path.stat().st_ino if file.path.exists() else 0
        eventually(
            lambda was=before: file.path.exists() and file.path.stat().st_ino != was,  # type: ignore[misc]
        )
        time.sleep(pause)
        process.kill()
        process.wait()
        state = file.read()
        assert state is not None
        assert state["same"] == [state["n"]] * 5000


def test_a_socket_in_its_place_is_not_read(file: StateFile) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(file.path))
        assert why_not(file).startswith("cannot read it: ")
