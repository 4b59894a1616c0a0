"""Rows: which, in what order, and what of them fits."""

import pytest

from sockmon.client.snapshot import Row
from sockmon.model.states import TcpState
from sockmon.top.keys import ViewState
from sockmon.top.lines import UNICODE, plain_text
from sockmon.top.scene import By, Grouped
from sockmon.top.table import Table, number
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
    return Table(grouped, (), ViewState(**chosen), width)  # type: ignore[arg-type]


def names(of: Table) -> list[str]:
    return [" ".join(row.cells) for row in of.rows]


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
        ("ESTAB", "8080 inbound"),
        ("OTHER", "443 inbound"),
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


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
def test_every_socket_is_in_some_column(width: int) -> None:
    of = table(width=width)
    if "OTHER" not in of.columns and width < 100:
        return  # so narrow that only TOTAL tells of all
    head = plain_text(of.head(UNICODE)).replace("▼", " ").split()
    for row in of.rows:
        cells = plain_text(of.line(row, UNICODE)).replace("·", "0").split()
        told = dict(zip(head, cells, strict=True))
        rest = sum(int(told[name]) for name in head[3:])
        assert int(told["TOTAL"]) == row.total == rest


def test_the_wider_the_more_states() -> None:
    assert table(width=40).columns == ("PORT", "DIRECTION", "TOTAL", "CLOSE_WAIT")
    assert len(table(width=80).columns) == 8
    assert set(TcpState) == set(range(1, 12))
    assert len(table(width=200).columns) == 3 + len(TcpState)


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
    assert of.hidden == 4 - len(left)


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
    of = Table(grouped, findings, ViewState(), 80)
    assert plain_text(of.line(of.rows[0], UNICODE)).startswith("!! ")


def test_names_that_are_alike_are_cut_where_they_are() -> None:
    names = ("netns-4026531840", "netns-4026531841")
    found = rows(*((("443", "inbound", name), {"listen": 1}) for name in names))
    of = table(Grouped("port", ("PORT", "DIRECTION", "NETNS"), found), width=40)
    lines = [plain_text(of.line(row, UNICODE)) for row in of.rows]
    assert "net…26531840" in lines[0]
    assert "net…26531841" in lines[1]


def test_namespaces_are_marked_by_what_is_known_of_them() -> None:
    found = [making.finding("critical", netns="shop")]
    findings = making.found(making.snapshot(making.namespace(netns="shop", findings=found)))
    counts = making.counted({"established": 7})
    kinds = (
        Row(("shop",), counts),
        Row(("seen from outside",), counts, degraded=True),
        Row(("waiting",), counts, age=95.0),
    )
    of = Table(Grouped("netns", ("NETNS",), kinds), findings, ViewState(by="netns"), 80)
    lines = {row.cells[0]: plain_text(of.line(row, UNICODE)) for row in of.rows}
    assert lines["shop"].startswith("!! shop")
    assert lines["seen from outside"].startswith(" ? seen from outside")
    assert lines["waiting"].split()[:3] == ["waiting", "1m35s", "7"]
    assert lines["shop"].split()[:4] == ["!!", "shop", "·", "7"]


def test_namespaces_sort_by_age() -> None:
    ages = {"a": 5.0, "b": 100.0, "c": 0.0}
    found = (Row((name,), making.counted({"listen": 1}), age=age) for name, age in ages.items())
    of = table(Grouped("netns", ("NETNS",), tuple(found)), sort="AGE")
    assert names(of) == ["b", "a", "c"]


def test_the_chosen_namespace_is_pointed_at() -> None:
    found = rows((("shop",), {"listen": 1}), (("web",), {"listen": 1}))
    of = table(Grouped("netns", ("NETNS",), found), by="netns", netns="web")
    assert [plain_text(of.line(row, UNICODE))[:6] for row in of.rows] == ["   sho", ">  web"]
    assert all(span.banner for span in of.line(of.rows[1], UNICODE))


def test_an_owner_of_any_length_leaves_room_for_the_counts() -> None:
    grouped = Grouped("owner", ("OWNER",), rows((("x" * 500 + "[1]",), {"close_wait": 7})))
    of = table(grouped)
    assert plain_text(of.line(of.rows[0], UNICODE)).split()[1:3] == ["7", "7"]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999_999, "999,999"), (1_000_000, "1.00M"), (123_456_789, "123.46M")],
)
def test_numbers_fit_their_columns(count: int, text: str) -> None:
    assert number(count) == text
    assert len(text) <= 7
