"""History survives restarts and reboots; what is not a history of ours does not."""

import gzip
import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.history.file import HistoryFile
from sockmon.history.recorder import SAVE_SECONDS, HistoryRecorder
from sockmon.history.snapshot import (
    COARSE,
    NEAR,
    SPANS,
    AlertChange,
    HistorySnapshot,
    NamespacePast,
    Row,
)
from sockmon.history.store import History
from sockmon.model.moment import Moment
from sockmon.state.file import AnotherVersionError, StateError, WholeFile
from tests.lab import eventually
from tests.unit.polls import at, everything, poll, saw

BOOT = "f2ab0d41-4d0d-4b3b-9a4c-3a4dd4b1a8a5"
WARNING = "WARNING: history cannot be restored, starting without it: {}"
INFO = WARNING.replace("WARNING", "INFO")
CHANGE = AlertChange(
    1e9, "firing", 1e9, {"alertname": "SockmonAcceptQueue"}, "x\ny\udcff", "warning"
)


@pytest.fixture
def file(tmp_path: Path) -> HistoryFile:
    return HistoryFile(tmp_path / "history", BOOT)


def past(polls: int = 30, step: float = 5.0) -> HistorySnapshot:
    """The past of a host with a port that came and went, and of a namespace that went."""
    history = History()
    for number in range(polls):
        moment = at(step * number)
        other = saw(moment, number, {1000 + number % 20: number}, name="pod")
        seen = (everything(moment), other) if number < polls // 2 else (everything(moment),)
        history.observe(poll(moment, *seen), moment, [CHANGE])
    kept = history.past()
    assert kept is not None
    return kept


def same(ours: HistorySnapshot, theirs: HistorySnapshot) -> None:
    assert (ours.at, ours.alert_changes) == (theirs.at, theirs.alert_changes)
    assert ours.namespaces.keys() == theirs.namespaces.keys()
    for name, namespace in ours.namespaces.items():
        other = theirs.namespaces[name]
        assert (namespace.depth, namespace.troubled_at) == (other.depth, other.troubled_at)
        assert list(namespace.watched.items()) == list(other.watched.items())
        for span, rows in namespace.rows.items():
            assert [row.at for row in rows] == [row.at for row in other.rows[span]]
            for row, again in zip(rows, other.rows[span], strict=True):
                np.testing.assert_array_equal(row.high, again.high)
                np.testing.assert_array_equal(row.low, again.low)


@pytest.mark.parametrize("polls", [1, 2, 30, 800])
def test_what_is_written_is_read(file: HistoryFile, polls: int) -> None:
    file.write(past(polls))
    read = file.read(at(5 * polls))
    assert read is not None
    same(read, past(polls))
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_how_closely_each_is_remembered_is_read_too(file: HistoryFile) -> None:
    rows = {
        span: tuple(Row(float(n), *[np.full(COARSE.width, n, np.float32)] * 2) for n in range(9))
        for span in SPANS
    }
    kept = {
        "pod": NamespacePast(rows, {}, COARSE, 7.5),
        "other": NamespacePast(dict.fromkeys(SPANS, ()), {}, NEAR),
    }
    file.write(HistorySnapshot(at(0), kept))
    read = file.read(at(5))
    assert read is not None
    same(read, HistorySnapshot(at(0), kept))


def test_no_file_is_no_past(file: HistoryFile) -> None:
    assert file.read(at(0)) is None


def test_a_reboot_moves_it_to_the_new_clock(file: HistoryFile) -> None:
    written = past()
    file.write(written)
    now = Moment(7.0, written.at.wall + 100)
    read = HistoryFile(file.path, "another boot").read(now)
    assert read is not None
    same(read, written.adopted(now, same_boot=False))
    assert read.at.monotonic == -93.0


def test_other_columns_are_another_versions(
    file: HistoryFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write(past())
    monkeypatch.setattr("sockmon.history.file._LAYOUT", ["something", "else"])
    with pytest.raises(AnotherVersionError, match=r"history: of another version of sockmon$"):
        file.read(at(0))


def rewritten(file: HistoryFile, body: Callable[[bytes], bytes]) -> None:
    """Have another body written, as good as ours from outside."""
    file.write(past(1))
    whole = WholeFile(file.path, "history", 2, BOOT)
    found = whole.read()
    assert found is not None
    whole.write(body(found[0]))


@given(
    st.sampled_from(["at", "namespaces", "alert_changes", "layout"]),
    st.none() | st.integers() | st.text() | st.lists(st.integers() | st.text(), max_size=3),
    st.binary(max_size=60) | st.sampled_from([b"1 0\n", b"-1 0\n", b"99999999999 1\n"]),
)
def test_a_body_of_nonsense_is_an_error(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: object, columns: bytes
) -> None:
    file = HistoryFile(tmp_path_factory.mktemp("history") / "history", BOOT)

    def edited(body: bytes) -> bytes:
        head = json.loads(gzip.decompress(body).partition(b"\n")[0])
        return gzip.compress(json.dumps({**head, key: value}).encode() + b"\n" + columns)

    rewritten(file, edited)
    with pytest.raises(StateError, match=str(file.path)):
        file.read(at(0))


@pytest.mark.parametrize(
    "edit",
    [
        lambda body: body[:0],
        lambda body: body[:-1],
        lambda body: body[: len(body) // 2],
        lambda body: body + gzip.compress(b"more"),
        gzip.decompress,
        gzip.compress,
    ],
)
def test_a_body_that_is_not_whole_is_an_error(
    file: HistoryFile, edit: Callable[[bytes], bytes]
) -> None:
    rewritten(file, edit)
    with pytest.raises(StateError, match=str(file.path)):
        file.read(at(0))


class TestHistoryRecorder:
    """The daemon's: at most a minute is lost, and nothing else ever fails for it."""

    def saw(self, historian: HistoryRecorder, *times: float) -> None:
        for seconds in times:
            moment = at(seconds)
            historian.observe(poll(moment, everything(moment)), moment)

    def rows(self, file: HistoryFile) -> int:
        read = file.read(at(0))
        return len(read.namespaces["host"].rows["hour"]) if read else 0

    def test_writes_at_once_and_then_once_a_minute(self, file: HistoryFile) -> None:
        historian = HistoryRecorder(file, at(0))
        self.saw(historian, 0)
        eventually(lambda: self.rows(file) == 1)
        written = file.path.stat().st_mtime_ns
        self.saw(historian, *range(5, int(SAVE_SECONDS), 5))
        assert file.path.stat().st_mtime_ns == written
        self.saw(historian, SAVE_SECONDS)
        eventually(lambda: self.rows(file) == SAVE_SECONDS / 5 + 1)

    def test_a_stop_writes_the_rest_and_a_start_goes_on(self, file: HistoryFile) -> None:
        historian = HistoryRecorder(file, at(0))
        self.saw(historian, 0, 5, 10)
        historian.close()
        again = HistoryRecorder(file, at(12))
        self.saw(again, 15)
        past = again.past()
        assert past is not None
        assert [row.at - 1000 for row in past.namespaces["host"].rows["hour"]] == [0, 5, 10, 15]

    def test_without_a_file_it_works_too(self) -> None:
        historian = HistoryRecorder(None, at(0))
        assert historian.past() is None
        self.saw(historian, 0, 100)
        historian.close()
        assert historian.past() is not None

    def test_a_stop_before_the_first_poll_writes_nothing(self, file: HistoryFile) -> None:
        HistoryRecorder(file, at(0)).close()
        assert not file.path.exists()

    @pytest.mark.parametrize(
        ("content", "line"),
        [
            (
                b"sockmon-history 0 BOOT DIGEST\n",
                f"{INFO}: of another version of sockmon",
            ),
            (b"sockmon-history 2 torn", f"{WARNING}: not a history of ours"),
            (b"sockmon-state 1 BOOT DIGEST\n", f"{WARNING}: not a history of ours"),
            (b"sockmon-history 2 BOOT DIGEST\n", f"{WARNING}: damaged"),
        ],
    )
    def test_what_cannot_be_read_costs_one_line(
        self, file: HistoryFile, caplog: pytest.LogCaptureFixture, content: bytes, line: str
    ) -> None:
        caplog.set_level(logging.INFO)
        file.path.write_bytes(content)
        historian = HistoryRecorder(file, at(0))
        (record,) = caplog.records
        assert f"{record.levelname}: {record.message}" == line.format(file.path)
        self.saw(historian, 0)
        historian.close()
        assert self.rows(file) == 1
