"""Each key changes what it says and nothing else."""

from dataclasses import replace

import pytest

from sockmon.top.choice import TOTAL, RowKey, ViewState
from sockmon.top.keys import KEYS, SORT_KEYS
from sockmon.top.scene import Scene
from tests.unit.top import making
from tests.unit.top.looking import see

BAD = making.scene(
    making.snapshot(making.namespace(findings=[making.finding(), making.finding(port=80)]))
)
#: In the order of the keys: the one in trouble, then the largest.
NAMESPACES = ("shop", "host", "web")
MANY = making.scene(
    making.snapshot(
        making.namespace(),
        making.namespace(netns="web"),
        making.namespace(netns="shop", findings=[making.finding(netns="shop")]),
    )
)


def after(*keys: str, state: ViewState | None = None, scene: Scene = BAD) -> ViewState:
    return see(scene, *keys, state=state).state


def test_grouping_goes_round() -> None:
    assert [after(*"g" * n).by for n in range(4)] == ["port", "owner", "peer", "port"]
    by = [after(*"g" * n, scene=MANY).by for n in range(5)]
    assert by == ["port", "netns", "owner", "peer", "port"]


def test_namespaces_are_gone_through_and_back_to_all() -> None:
    chosen = [after(*"n" * n, scene=MANY).netns for n in range(5)]
    assert chosen == [None, *NAMESPACES, None]
    assert after("p", scene=MANY).netns == "web"
    assert after("n").netns is None, "there is only one"
    assert after("n", "g", "s", scene=MANY).netns == "shop"


def test_one_that_has_gone_is_replaced_by_all() -> None:
    assert after("n", state=ViewState(netns="gone"), scene=MANY).netns is None


def test_escape_takes_back_the_filter_then_the_namespace() -> None:
    narrowed = ViewState(filter="80", netns="shop")
    once = after("escape", state=narrowed, scene=MANY)
    assert (once.filter, once.netns) == ("", "shop")
    assert after("escape", state=once, scene=MANY).netns is None


def test_a_row_that_is_entered() -> None:
    entered = ViewState(by="netns", filter="sh").entered(("shop",))
    assert (entered.by, entered.netns, entered.filter) == ("port", "shop", "")
    assert ViewState().entered(("80", "inbound")).page == RowKey("port", ("80", "inbound"))


def test_sorting_goes_through_the_columns_that_are_shown() -> None:
    assert see(BAD).columns == ("PORT", "DIRECTION", "TOTAL", "ESTABLISHED", "LISTEN")
    assert [after(*"s" * n).sort for n in range(4)] == ["TOTAL", "ESTABLISHED", "LISTEN", "PORT"]
    assert after("S").sort == "DIRECTION"
    assert after("r").reverse
    assert not after("r", "s").reverse


def test_a_column_that_has_gone_does_not_stop_sorting() -> None:
    assert after("s", state=ViewState(sort="NETNS")).sort == "DIRECTION"


@pytest.mark.parametrize("key", SORT_KEYS)
def test_a_letter_sorts_by_its_state_even_while_that_does_not_occur(key: str) -> None:
    shown = see(BAD, "s", "r", key)
    assert (shown.state.sort, shown.state.reverse) == (SORT_KEYS[key], False)
    assert any(column.label == f"{SORT_KEYS[key]}▼" for column in shown.table.columns)


def test_freezing_holds_the_scene() -> None:
    frozen = after("space")
    assert frozen.held is BAD
    assert after("space", state=frozen).held is None


def test_findings_are_read_by_number_and_one_after_the_other() -> None:
    first, second = see(BAD).found
    assert after("1").page == first
    assert after("2").page == second
    assert after("3").page is None
    assert after("2", "n").page == first
    assert after("1", "p").page == second
    assert after("1", "escape").page is None


def test_the_help_covers_whatever_is_shown() -> None:
    assert after("1", "question_mark").page == "help"
    assert after("h", "h").page is None
    assert after("h", "n").page == see(BAD).found[0]


@pytest.mark.parametrize("page", ["help", see(BAD).found[0]])
def test_under_a_page_the_table_stays_as_it_is(page: object) -> None:
    state = ViewState(page=page)  # type: ignore[arg-type]
    assert after("g", "s", "S", "r", *SORT_KEYS, state=state) == state


def test_no_key_has_two_meanings_and_each_column_key_sorts_by_another() -> None:
    names = [name for key in KEYS for name in key.names.split(",") if key.label or name != "1"]
    assert len(names) == len(set(names))
    assert len(set(SORT_KEYS.values())) == len(SORT_KEYS)
    assert replace(ViewState(sort="x"), reverse=True).sorted_by(TOTAL) == ViewState()
