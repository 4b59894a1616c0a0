"""Each key changes what it says and nothing else."""

from dataclasses import replace

import pytest

from sockmon.top.keys import Layout, ViewState, press, typed
from tests.unit.top import making

SCENE = making.scene()
FOUND = making.found(
    making.snapshot(making.namespace(findings=[making.finding(), making.finding(port=80)]))
)
LAYOUT = Layout(
    columns=("PORT", "DIRECTION", "TOTAL", "ESTAB"),
    findings=tuple(finding.key for finding in FOUND),
    page=5,
    last=12,
)
OF_MANY = replace(LAYOUT, namespaces=("shop", "host", "web"))
START = ViewState()


def after(*keys: str, state: ViewState = START, layout: Layout = LAYOUT) -> ViewState:
    for key in keys:
        state = press(state, key, SCENE, layout)
    return state


def test_grouping_goes_round() -> None:
    assert [after(*"g" * n).by for n in range(4)] == ["port", "owner", "peer", "port"]
    by = [after(*"g" * n, layout=OF_MANY).by for n in range(5)]
    assert by == ["port", "netns", "owner", "peer", "port"]


def test_namespaces_are_gone_through_and_back_to_all() -> None:
    chosen = [after(*"n" * n, layout=OF_MANY).netns for n in range(5)]
    assert chosen == [None, "shop", "host", "web", None]
    assert after("p", layout=OF_MANY).netns == "web"
    assert after("n").netns is None, "there is but one"
    assert after("n", "g", "s", layout=OF_MANY).netns == "shop"


def test_one_that_has_gone_gives_way_to_all() -> None:
    assert after("n", state=ViewState(netns="gone"), layout=OF_MANY).netns is None


def test_the_chosen_row_stays_in_view() -> None:
    by_netns = ViewState(by="netns")
    many = replace(OF_MANY, namespaces=tuple(f"pod-{n}" for n in range(20)), page=5)
    assert after(*"n" * 5, state=by_netns, layout=many).offset == 0
    assert after(*"n" * 6, state=by_netns, layout=many).offset == 1
    assert after("p", state=by_netns, layout=many).offset == 15
    assert after("p", *"p" * 6, state=by_netns, layout=many).offset == 13


def test_escape_takes_back_the_filter_then_the_namespace() -> None:
    narrowed = after("n", "/", *"80", "enter", layout=OF_MANY)
    once = after("escape", state=narrowed, layout=OF_MANY)
    assert (once.filter, once.netns) == ("", "shop")
    assert after("escape", state=once, layout=OF_MANY).netns is None


def test_enter_looks_into_the_chosen_namespace() -> None:
    entered = after("g", "n", "enter", layout=OF_MANY)
    assert (entered.by, entered.netns, entered.reading) == ("port", "shop", None)
    assert after("g", "enter", layout=OF_MANY).reading == LAYOUT.findings[0]


def test_sorting_goes_through_the_columns_that_are_shown() -> None:
    assert [after(*"s" * n).sort for n in range(3)] == ["TOTAL", "ESTAB", "PORT"]
    assert after("S").sort == "DIRECTION"
    assert after("left") == after("S")
    assert after("right", "r").reverse
    assert not after("r", "s").reverse


def test_a_column_that_has_gone_is_no_trap() -> None:
    assert press(ViewState(sort="NETNS"), "s", SCENE, LAYOUT).sort == "DIRECTION"


@pytest.mark.parametrize(
    ("keys", "offset"),
    [
        (["down"], 1),
        (["down", "down", "up"], 1),
        (["up"], 0),
        (["pagedown"], 5),
        (["pagedown"] * 9, 12),
        (["end", "up"], 11),
        (["end", "pageup"], 7),
        (["end", "home"], 0),
        (["down", "s"], 0),
        (["down", "g"], 0),
    ],
)
def test_scrolling_stays_within_what_there_is(keys: list[str], offset: int) -> None:
    assert after(*keys).offset == offset


def test_scrolling_begins_where_rows_are_left_when_there_are_fewer() -> None:
    assert press(ViewState(offset=99), "up", SCENE, LAYOUT).offset == 11


def test_a_filter_is_typed_kept_undone_and_dropped() -> None:
    typing = after("/", *"quit 1?")
    assert (typing.filter, typing.typing, typing.quit, typing.help) == (
        "quit 1?",
        True,
        False,
        False,
    )
    kept = after("enter", state=typing)
    assert (kept.filter, kept.typing) == ("quit 1?", False)
    undone = after("/", *"x", "escape", state=kept)
    assert (undone.filter, undone.typing) == ("quit 1?", False)
    assert after("/", "backspace", "enter", state=kept).filter == "quit 1"
    assert after("/", "ctrl+u", "enter", state=kept).filter == ""
    assert after("escape", state=kept).filter == ""


def test_pasted_text_is_for_the_filter_alone_printable_and_bounded() -> None:
    assert typed(START, "qqq") == START
    assert typed(after("/"), "a\x1b[31m\nb").filter == "a\\x1b[31m\\nb"
    assert len(typed(after("/"), "x" * 10_000).filter) == 60


def test_freezing_holds_the_scene() -> None:
    frozen = after(" ")
    assert frozen.held is SCENE
    assert after(" ", state=frozen).held is None


def test_findings_are_read_by_number_and_one_after_the_other() -> None:
    first, second = LAYOUT.findings
    assert after("1").reading == first
    assert after("enter").reading == first
    assert after("2").reading == second
    assert after("3").reading is None
    assert after("2", "n").reading == first
    assert after("1", "p").reading == second
    assert after("1", "down", "n").page_offset == 0
    assert after("1", "escape").reading is None


def test_the_help_covers_what_is_read_and_gives_it_back() -> None:
    helped = after("1", "?")
    assert helped.help
    assert helped.reading is not None
    assert after("?", state=helped) == after("1")
    assert not after("h", "escape").on_page
    assert after("?", "n") == after("?")


def test_a_page_has_an_offset_of_its_own() -> None:
    read = after("down", "1", "pagedown")
    assert (read.offset, read.page_offset) == (1, 5)
    assert after("escape", state=read).offset == 1


@pytest.mark.parametrize("keys", [["q"], ["ctrl+c"], ["1", "q"], ["?", "q"], ["/", "ctrl+c"]])
def test_there_is_always_a_way_out(keys: list[str]) -> None:
    assert after(*keys).quit


@pytest.mark.parametrize("key", ["x", "f12", "tab", "\u00e9"])
def test_other_keys_do_nothing(key: str) -> None:
    assert after(key) == START
