"""Whatever there is to show: printable, the verdict first, nothing old as new."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.top import plain
from sockmon.top.choice import ViewState
from sockmon.top.keys import KEYS
from sockmon.top.overview import Overview
from sockmon.top.scene import Scene, verdict
from tests.unit.top import making
from tests.unit.top.looking import paged, rows, see, texts
from tests.unit.top.making import NOW

NAMES = sorted({name for key in KEYS for name in key.names.split(",")})
BAD = making.scene(making.snapshot(making.namespace(findings=[making.finding(port=443)])))


@given(
    making.scenes(),
    st.lists(st.sampled_from(NAMES), max_size=12),
    st.integers(1, 200),
    st.floats(0, 1e6),
    st.text(max_size=9),
)
def test_whatever_is_known_and_pressed_is_printable(
    scene: Scene, pressed: list[str], width: int, later: float, words: str
) -> None:
    shown = see(scene, *pressed, state=ViewState(filter=words), width=width, later=later)
    cells = [cell for row in rows(shown) for cell in row]
    for text in (*texts(shown), *paged(shown, width), *cells):
        assert text.isprintable()
    assert shown.state.held or shown.verdict.text.startswith(verdict(scene, shown_at(later)).word)
    for line in plain.frame(shown):
        assert line.isascii()
        assert len(line) < 80


def shown_at(later: float) -> float:
    return NOW.monotonic + later


def test_a_host_that_is_well() -> None:
    shown = see(making.scene())
    assert shown.verdict.text == "OK  the sockets are healthy"
    assert shown.where.text == "db-7, every 5 s"
    assert shown.when.text.startswith("8 sockets  ")
    assert {"LISTEN 3", "ESTABLISHED 5"} <= set(texts(shown))
    assert not any(text.startswith("CLOSE_WAIT") for text in texts(shown)), "none has occurred"
    assert any("ephemeral ports 40/28,232" in text for text in texts(shown))
    assert rows(shown)[0][:4] == ["", "443", "inbound", "7"]


def test_the_worst_finding_is_the_verdict_and_marks_its_row() -> None:
    worse = making.finding("critical", port=80, summary="port 80 is worse")
    both = making.namespace(findings=[making.finding(port=443), worse])
    shown = see(making.snapshot(both))
    assert shown.verdict == ("CRITICAL  port 80 is worse", "critical")
    first, second = map(shown.head, shown.findings)
    assert first.text.split()[:4] == ["critical", "close_wait_leak", "inbound", "80"]
    assert second.text.split()[:5] == [
        "warning", "close_wait_leak", "inbound", "443", "shop[4711]",
    ]  # fmt: skip
    assert rows(shown)[0][:3] == ["!", "443", "inbound"]


def test_what_is_old_is_never_shown_as_live() -> None:
    live = making.scene()
    shown = see(live, later=16.0)
    assert shown.verdict.text == (
        "UNKNOWN  no news for 16s; until then: OK the sockets are healthy"
    )
    assert "as of" in shown.when.text
    assert not shown.live
    lost = see(live.lost("connection refused"), later=1.0)
    assert lost.verdict.text.startswith(
        "UNKNOWN  no news for 1s (connection refused); until then: "
    )
    assert not lost.live


def test_a_part_that_could_not_be_read_is_told() -> None:
    parts = making.namespace(
        tcp={"taken_at": NOW.wall - 7, "ipv4": making.states(listen=4), "ipv6": making.states()}
    )
    failures = [{"netns": "host", "reason": "EBUSY", "message": "the dump broke off"}]
    shown = see(making.snapshot(parts, failures=failures))
    assert shown.verdict.text == "UNKNOWN  could not read: the dump broke off"
    assert "STATES as they were 7s ago" in shown.states_title


def test_frozen_it_stands_still_and_says_so() -> None:
    calm = making.scene()
    frozen = see(calm, "space").state
    later = making.namespace(NOW.wall + 5, findings=[making.finding("critical")])
    bad = calm.saw(making.sighting(making.snapshot(later, at=NOW.wall + 5)))
    shown = see(bad, state=frozen, later=6.0)
    assert shown.verdict.text == "FROZEN 6s ago  OK the sockets are healthy"
    assert "now CRITICAL" in shown.when.text
    assert rows(shown) == rows(see(calm))
    assert see(bad, "space", state=frozen, later=6.0).verdict.text.startswith("CRITICAL")


@pytest.mark.parametrize(("by", "says"), [("g", "group by owner"), ("gg", "group by peer")])
def test_another_grouping_is_awaited(by: str, says: str) -> None:
    (note,) = see(making.scene(), *by).table_notes
    assert f"asking the kernel, to {says}" in note.text


def test_a_filter_hides_rows_but_no_finding_and_says_how_many() -> None:
    shown = see(BAD, state=ViewState(filter="nobody"))
    assert "PORTS 0 of 2, filter 'nobody'" in shown.table_title
    assert "none of 2 rows matches 'nobody'" in texts(shown)
    assert len(shown.findings) == 1


def test_a_row_is_found_by_who_is_to_blame_for_it() -> None:
    assert see(BAD, state=ViewState(filter="SHOP")).table_title.startswith("PORTS 1 of 2")


def test_names_that_others_chose_stay_text() -> None:
    owner = {"name": "\x1b[31m[red]x", "pid": 1, "unit": None, "fds": None, "fd_limit": None}
    bad = making.finding(
        subject={"direction": "inbound", "port": 443, "path": None, "owner": owner},
        owners=[owner],
        summary="\x1b]0;mine\x07 [bold]leaks[/bold]",
    )
    shown = see(making.snapshot(making.namespace(findings=[bad])))
    assert "\\x1b[31m[red]x[1]" in shown.head(shown.findings[0]).text
    assert shown.verdict.text == "WARNING  \\x1b]0;mine\\x07 [bold]leaks[/bold]"


def test_without_a_cursor_frames_say_the_same() -> None:
    lines = plain.frame(Overview(BAD, ViewState(), NOW.monotonic, 79))
    assert lines[0] == "WARNING  shop has not closed 12 connections"
    assert any("warning close_wait_leak inbound 443 shop[4711]" in line for line in lines)
    assert "5 ESTABLISHED  3 LISTEN" in lines
    assert any(line.split()[:4] == ["!", "443", "inbound", "7"] for line in lines)
