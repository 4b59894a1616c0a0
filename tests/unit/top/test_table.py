"""Rows: which, in what order, and what of them fits."""

import pytest

from sockmon.client.snapshot import Row
from sockmon.top.choice import ViewState
from sockmon.top.scene import By, Grouped
from sockmon.top.table import MOST_ROWS, Table, as_text, number
from sockmon.top.table import table as table_of
from tests.unit.top import making


def rows(*sockets: tuple[tuple[str, ...], dict[str, int]]) -> tuple[Row, ...]:
    return tuple(Row(cells, making.counted(counts)) for cells, counts in sockets)


PORTS = Grouped(
    "port",
    ("PORT", "DIRECTION"),
    rows(
        (("8080", "inbound"), {"established": 5}),
        (("443", "outbound"), {"close_wait": 9, "listen": 1}),
        (("443", "inbound"), {"closing": 10}),
        (("other", "outbound"), {"time_wait": 99}),
        (("22", "inbound"), {"listen": 0}),
    ),
)


def table(grouped: Grouped = PORTS, width: int = 80, **chosen: object) -> Table:
    return table_of(grouped, (), ViewState(**chosen), width)  # type: ignore[arg-type]


def names(of: Table) -> list[str]:
    return [" ".join(row.key) for row in of.rows]


def test_most_sockets_come_first_the_folded_last_and_none_not_at_all() -> None:
    assert names(table()) == ["443 inbound", "443 outbound", "8080 inbound", "other outbound"]
    assert names(table(reverse=True))[0] == "8080 inbound"
    assert names(table(reverse=True))[-1] == "other outbound"


@pytest.mark.parametrize(
    ("sort", "first"),
    [
        ("PORT", "443 inbound"),
        ("DIRECTION", "443 inbound"),
        ("CLOSE_WAIT", "443 outbound"),
        ("ESTABLISHED", "8080 inbound"),
        ("a column that has gone", "443 inbound"),
    ],
)
def test_any_column_sorts(sort: str, first: str) -> None:
    assert names(table(sort=sort))[0] == first


def test_names_sort_as_people_count() -> None:
    peers = ("10.0.0.10", "10.0.0.9", "9.9.9.9", "fe80::1", "-")
    grouped = Grouped("peer", ("PEER",), rows(*(((peer,), {"listen": 1}) for peer in peers)))
    assert names(table(grouped, sort="PEER")) == [
        "9.9.9.9", "10.0.0.9", "10.0.0.10", "-", "fe80::1",
    ]  # fmt: skip


def test_every_socket_is_in_some_column_and_only_states_that_occur_have_one() -> None:
    of = table()
    names = [column.name for column in of.columns]
    assert names == [
        "", "PORT", "DIRECTION", "TOTAL", "CLOSE_WAIT", "ESTABLISHED", "TIME_WAIT", "CLOSING",
        "LISTEN",
    ]  # fmt: skip
    for row in of.rows:
        told = dict(zip(names, row.cells, strict=True))
        counts = [int(cell.replace("·", "0")) for cell in row.cells[4:]]
        assert int(told["TOTAL"]) == sum(counts)


def test_a_table_of_many_rows_shows_the_first() -> None:
    many = rows(*(((str(port), "inbound"), {"listen": port}) for port in range(1, 1000)))
    of = table(Grouped("port", ("PORT", "DIRECTION"), many))
    assert (len(of.rows), of.matching) == (MOST_ROWS, 999)
    assert of.rows[0].key == ("999", "inbound")
    assert table(Grouped("port", ("PORT", "DIRECTION"), many), filter="7").rows[-1].key[0] == "7"


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ("443", ["443 inbound", "443 outbound"]),
        ("443 OUT", ["443 outbound"]),
        ("oth", ["other outbound"]),
        ("nothing like it", []),
    ],
)
def test_a_filter_wants_every_word_somewhere(words: str, left: list[str]) -> None:
    of = table(filter=words)
    assert names(of) == left
    assert (of.matching, of.present) == (len(left), 4)


@pytest.mark.parametrize(
    ("by", "columns", "cells"),
    [("port", ("PORT", "DIRECTION"), ("443", "inbound")), ("owner", ("OWNER",), ("shop[4711]",))],
)
def test_a_finding_marks_the_row_it_is_about_by_its_worst(
    by: By, columns: tuple[str, ...], cells: tuple[str, ...]
) -> None:
    found = [making.finding("critical", port=443), making.finding("warning", port=443)]
    findings = making.found(making.snapshot(making.namespace(findings=found)))
    grouped = Grouped(by, columns, rows((cells, {"listen": 1})))
    (row,) = table_of(grouped, findings, ViewState(), 80).rows
    assert (row.cells[0], row.style) == ("!!", "critical")


def test_names_that_are_alike_are_cut_where_they_are() -> None:
    names = ("netns-4026531840", "netns-4026531841")
    found = rows(*((("443", "inbound", name), {"listen": 1}) for name in names))
    of = table(Grouped("port", ("PORT", "DIRECTION", "NETNS"), found), width=40)
    assert [row.cells[3] for row in of.rows] == ["net…26531840", "net…26531841"]


def test_namespaces_are_marked_by_what_is_known_of_them() -> None:
    found = [making.finding("critical", netns="shop")]
    findings = making.found(making.snapshot(making.namespace(netns="shop", findings=found)))
    counts = making.counted({"established": 7})
    kinds = (
        Row(("shop",), counts),
        Row(("seen from outside",), counts, degraded=True),
        Row(("waiting",), counts, age=95.0),
    )
    of = table_of(Grouped("netns", ("NETNS",), kinds), findings, ViewState(by="netns"), 80)
    told = {row.key[0]: row.cells for row in of.rows}
    assert told["shop"] == ("!!", "shop", "·", "7", "7")
    assert told["seen from outside"][0] == "?"
    assert told["waiting"][1:4] == ("waiting", "1m35s", "7")


def test_namespaces_sort_by_age() -> None:
    ages = {"a": 5.0, "b": 100.0, "c": 0.0}
    found = (Row((name,), making.counted({"listen": 1}), age=age) for name, age in ages.items())
    of = table(Grouped("netns", ("NETNS",), tuple(found)), sort="AGE")
    assert names(of) == ["b", "a", "c"]


def test_an_owner_of_any_length_leaves_room_for_the_counts() -> None:
    grouped = Grouped("owner", ("OWNER",), rows((("x" * 500 + "[1]",), {"close_wait": 7})))
    (row,) = table(grouped).rows
    assert len(row.cells[1]) == 32
    assert row.cells[1].endswith("x[1]")


def test_on_paper_its_columns_are_aligned() -> None:
    lines = as_text(table(), 79)
    assert lines[0].split()[:3] == ["PORT", "DIRECTION", "TOTAL▼"]
    assert {line.index("bound") for line in lines[1:]} <= {11, 12}
    assert len({line.rindex(" ", 0, 24) for line in lines}) <= 2


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999_999, "999,999"), (1_000_000, "1.00M"), (123_456_789, "123.46M")],
)
def test_numbers_fit_their_columns(count: int, text: str) -> None:
    assert number(count) == text
    assert len(text) <= 7
