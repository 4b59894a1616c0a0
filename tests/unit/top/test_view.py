"""Whatever there is to show: lines that fit, printable, the verdict first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.top.keys import PAGE, TABLE, TYPING, Frame, ViewState, press
from sockmon.top.lines import ASCII, UNICODE, Glyphs, Size, ascii_only, line_width, plain_text
from sockmon.top.scene import Scene, verdict
from sockmon.top.view import frame
from tests.unit.top import making
from tests.unit.top.making import NOW

KEYS = sorted({*TABLE, *PAGE, *TYPING, "x", "0", "\u00e9"} - {"q", "ctrl+c"})
ROOM = Size(80, 24)
SIZES = st.builds(Size, st.integers(1, 200), st.integers(1, 60))


def texts(drawn: Frame) -> list[str]:
    return [plain_text(line) for line in drawn.lines]


def shown(scene: Scene, *pressed: str, size: Size = ROOM, later: float = 0.0) -> list[str]:
    """What is on the screen after these keys, a frame after each."""
    now = NOW.monotonic + later
    state = ViewState()
    drawn = frame(scene, state, size, now)
    for key in pressed:
        state = press(state, key, scene, drawn.layout)
        drawn = frame(scene, state, size, now)
    return texts(drawn)


@given(
    making.scenes(),
    st.lists(st.sampled_from(KEYS), max_size=12),
    SIZES,
    st.floats(0, 1e6),
    st.sampled_from([UNICODE, ASCII]),
)
def test_whatever_is_known_and_pressed_fits(
    scene: Scene, pressed: list[str], size: Size, later: float, glyphs: Glyphs
) -> None:
    state, now = ViewState(), NOW.monotonic + later
    drawn = frame(scene, state, size, now, glyphs)
    for key in pressed:
        state = press(state, key, scene, drawn.layout)
        drawn = frame(scene, state, size, now, glyphs)
    assert len(drawn.lines) == size.height
    for line in drawn.lines:
        assert line_width(line) <= size.width
        assert all(span.text.isprintable() for span in line)
        if glyphs == ASCII:
            assert plain_text(ascii_only(line)).isascii()
            assert line_width(ascii_only(line)) <= size.width
    if state.held is None and size.width >= 40:
        assert verdict(scene, now).word in texts(drawn)[0]


def test_a_host_that_is_well() -> None:
    lines = shown(making.scene())
    assert lines[0] == " HEALTHY  this host's TCP sockets are well"
    assert lines[1].startswith(" db-7, every 5 s")
    assert "8 sockets" in lines[1]
    assert any(line.split()[:2] == ["listen", "3"] for line in lines)
    assert any("ephemeral ports 40/28,232" in line for line in lines)
    assert any(line.split()[:3] == ["443", "inbound", "7"] for line in lines)
    assert lines[-1].startswith(" q quit  ? help  / filter")


def test_the_worst_finding_is_the_verdict_and_marks_its_row() -> None:
    bad = making.namespace(
        findings=[
            making.finding(port=443),
            making.finding("critical", port=80, summary="port 80 is worse"),
        ]
    )
    lines = shown(making.scene(making.snapshot(bad)))
    assert lines[0] == " CRITICAL  port 80 is worse"
    (first, second) = (line for line in lines if "close_wait_leak" in line)
    assert first.split()[:5] == ["1", "critical", "close_wait_leak", "inbound", "80"]
    assert second.split()[:5] == ["2", "warning", "close_wait_leak", "inbound", "443"]
    assert "shop[4711]" in second
    assert any(line.split()[:3] == ["!", "443", "inbound"] for line in lines)


def test_a_finding_whole_tells_what_to_do_before_what_it_is_known_by() -> None:
    bad = making.scene(making.snapshot(making.namespace(findings=[making.finding()])))
    lines = shown(bad, "1", size=Size(100, 24))
    advice = lines.index("  - shop must close these sockets.")
    evidence = lines.index("    oldest: 1m1s")
    assert 0 < advice < evidence < lines.index("    held by: shop[4711], 10 of 1024 descriptors")
    assert any("SockmonCloseWaitLeak.md" in line for line in lines)
    assert shown(bad, "1", "escape") == shown(bad)


def test_a_finding_that_goes_while_it_is_read_is_said_to_have_gone() -> None:
    bad = making.scene(making.snapshot(making.namespace(findings=[making.finding()])))
    drawn = frame(bad, ViewState(), ROOM, NOW.monotonic)
    state = press(ViewState(), "1", bad, drawn.layout)
    well = making.scene()
    assert " This finding has gone." in texts(frame(well, state, ROOM, NOW.monotonic))


def test_the_help_names_every_key() -> None:
    lines = " ".join(shown(making.scene(), "?", size=Size(80, 60)))
    names = {" ": "space", "escape": "esc", "pageup": "page up", "pagedown": "page down"}
    digits = set("123456789")
    for key in {*TABLE, *PAGE} - digits - {"enter", "h", "backspace", "?"}:
        assert names.get(key, key) in lines


def test_what_is_old_is_never_shown_as_live() -> None:
    live = making.scene()
    lines = shown(live, later=16.0)
    assert (
        lines[0]
        == " UNKNOWN  no news for 16s; until then: HEALTHY this host's TCP sockets are well"
    )
    assert "as of" in lines[1]
    lost = live.lost("connection refused")
    drawn = frame(lost, ViewState(), Size(120, 24), NOW.monotonic + 1)
    assert texts(drawn)[0].startswith(" UNKNOWN  no news for 1s (connection refused); until then: ")
    inks = {span.ink for line in drawn.lines[2:-1] for span in line}
    assert inks <= {"faint"}


def test_a_part_that_could_not_be_read_is_told() -> None:
    parts = making.namespace(
        tcp={"taken_at": NOW.wall - 7, "ipv4": making.states(listen=4), "ipv6": making.states()}
    )
    failures = [{"netns": "host", "reason": "EBUSY", "message": "the dump broke off"}]
    lines = shown(making.scene(making.snapshot(parts, failures=failures)))
    assert lines[0] == " UNKNOWN  could not read: the dump broke off"
    assert any("STATES as they were 7s ago" in line for line in lines)


def test_frozen_it_stands_still_and_says_so() -> None:
    calm = making.scene()
    layout = frame(calm, ViewState(), ROOM, NOW.monotonic).layout
    frozen = press(ViewState(), " ", calm, layout)
    bad = calm.saw(
        making.sighting(
            making.snapshot(
                making.namespace(NOW.wall + 5, findings=[making.finding("critical")]),
                at=NOW.wall + 5,
            )
        )
    )
    lines = texts(frame(bad, frozen, ROOM, NOW.monotonic + 6))
    assert lines[0] == " FROZEN 6s ago  HEALTHY this host's TCP sockets are well"
    assert "now CRITICAL" in lines[1]
    assert lines[2:-1] == shown(calm)[2:-1]
    thawed = press(frozen, " ", bad, layout)
    assert texts(frame(bad, thawed, ROOM, NOW.monotonic + 6))[0].startswith(" CRITICAL")


@pytest.mark.parametrize(("by", "says"), [("g", "group by owner"), ("gg", "group by peer")])
def test_another_grouping_is_awaited(by: str, says: str) -> None:
    assert any(f"asking the kernel, to {says}" in line for line in shown(making.scene(), *by))


def test_a_filter_hides_rows_but_no_finding_and_says_how_many() -> None:
    bad = making.scene(making.snapshot(making.namespace(findings=[making.finding(port=443)])))
    lines = shown(bad, "/", *"nobody", "enter")
    assert any("PORTS 0 of 2" in line for line in lines)
    assert " none of 2 rows matches 'nobody'" in lines
    assert any("close_wait_leak" in line for line in lines)
    assert lines[-1].startswith(" / filter 'nobody'")


def test_a_row_is_found_by_who_is_to_blame_for_it() -> None:
    bad = making.scene(making.snapshot(making.namespace(findings=[making.finding(port=443)])))
    assert any("PORTS 1 of 2" in line for line in shown(bad, "/", *"SHOP"))


def test_names_that_others_chose_stay_text() -> None:
    owner = {"name": "\x1b[31m[red]x", "pid": 1, "unit": None, "fds": None, "fd_limit": None}
    bad = making.finding(
        subject={"direction": "inbound", "port": 443, "owner": owner},
        owners=[owner],
        summary="\x1b]0;mine\x07 [bold]leaks[/bold]",
    )
    lines = "\n".join(shown(making.scene(making.snapshot(making.namespace(findings=[bad])))))
    assert "\\x1b[31m[red]x[1]" in lines
    assert "\\x1b]0;mine\\x07 [bold]leaks[/bold]" in lines
    assert "\x1b" not in lines


def test_the_smallest_terminals_have_the_verdict_the_worst_and_the_table() -> None:
    bad = making.scene(making.snapshot(making.namespace(findings=[making.finding(port=443)])))
    lines = shown(bad, size=Size(40, 10))
    assert lines[0].startswith(" WARNING  shop has not closed")
    assert any("close_wait_leak" in line for line in lines)
    assert any("PORT DIRECTION" in line for line in lines)
    assert any(line.split()[:3] == ["!", "443", "inbound"] for line in lines)


@pytest.mark.parametrize("width", [1, 21, 22, 37])
def test_where_no_sparkline_fits_states_are_told_in_words(width: int) -> None:
    lines = shown(making.scene(), size=Size(width, 50))
    assert len(lines) == 50
    assert width < 21 or any(line.startswith(" 5 established") for line in lines)
