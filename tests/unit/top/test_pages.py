"""What covers the overview: a finding, a row, the help."""

from sockmon.language import chinese, columns
from sockmon.top.choice import RowKey, ViewState
from sockmon.top.keys import KEYS
from sockmon.top.pages import HELP
from tests.unit.top import making
from tests.unit.top.looking import paged, see

NOW_LATER = making.NOW.wall + 5
BAD = making.scene(making.snapshot(making.namespace(findings=[making.finding(port=443)])))


def test_a_finding_tells_what_to_do_before_its_evidence() -> None:
    lines = paged(see(BAD, "1"), 100)
    assert lines[0] == "FINDING 1 of 1"
    advice = lines.index("  - shop must close these sockets.")
    evidence = lines.index("    oldest: 1m1s")
    assert 0 < advice < evidence < lines.index("    held by: shop[4711], 10 of 1,024 descriptors")
    assert any("SockmonCloseWaitLeak.md" in line for line in lines)


def test_a_finding_that_goes_while_it_is_read_is_said_to_have_gone() -> None:
    state = see(BAD, "1").state
    assert paged(see(making.scene(), state=state)) == ["FINDING", "This finding has gone."]


def test_a_row_is_told_whole_with_what_is_wrong_with_it() -> None:
    row = ViewState(page=RowKey(("443", "inbound")))
    lines = paged(see(BAD, state=row))
    assert ["PORT", "443"] in [line.split() for line in lines]
    assert ["ESTABLISHED", "5", "71%"] in [line.split() for line in lines]
    assert "  - shop must close these sockets." in lines
    assert lines[-1] == "  sockmon count --port 443 --by direction,owner,peer,state"
    gone = ViewState(page=RowKey(("1", "inbound")))
    assert paged(see(BAD, state=gone)) == ["DETAILS", "This row has gone."]


def test_the_command_for_a_row_names_its_namespace_safely() -> None:
    hostile = "a b;\x1b"
    many = making.scene(making.snapshot(making.namespace(), making.namespace(netns=hostile)))
    row = ViewState(page=RowKey(("443", "inbound", hostile)))
    assert paged(see(many, state=row))[-1] == (
        "  sockmon count --netns 'a b;\\x1b' --port 443 --by direction,owner,peer,state"
    )


def counting(opened: int, refused: int, since: float = 5.0) -> making.Json:
    its = {
        "direction": "outbound", "port": 443, "opened": opened, "failed": {"refused": refused},
        "closed": {"here": 0, "there": 0, "both": 0}, "aborted": {},
    }  # fmt: skip
    quiet = {**its, "port": None, "opened": 7, "failed": {}}
    return making.namespace(connection_events={"since": since, "ports": [its, quiet]})


def test_connections_between_polls_are_told_by_the_second() -> None:
    first = making.scene(making.snapshot(counting(100, 3), at=making.NOW.wall - 5))
    assert paged(see(first, "b"))[1:] == ["waiting for the next poll"]
    second = first.saw(making.sighting(making.snapshot(counting(160, 4))))
    title, heads, *lines = paged(see(second, "b"))
    assert (title, heads.split()[:3]) == (
        "BETWEEN POLLS, A SECOND",
        ["PORT", "DIRECTION", "OPENED"],
    )
    assert [line.split() for line in lines] == [["443", "outbound", "12", "0.2", "·", "·"]]
    again = second.saw(making.sighting(making.snapshot(counting(2, 0, since=9.0), at=NOW_LATER)))
    assert paged(see(again, "b"))[1:] == ["waiting for the next poll"], "a daemon that began anew"
    still = first.saw(making.sighting(making.snapshot(counting(100, 3))))
    assert paged(see(still, "b"))[1:] == ["nothing opened, failed or closed"]
    assert see(BAD, "b").state.page is None, "where nothing is counted there is no such page"


def test_the_help_names_every_key() -> None:
    text = "\n".join(paged(see(BAD, "h")))
    names = {"question_mark": "?", "escape": "esc"}
    digits = set("23456789")
    for key in KEYS:
        name = key.names.split(",")[0]
        if name not in {*digits, "question_mark"}:
            assert names.get(name, name) in text


def test_in_chinese_every_line_of_the_help_is() -> None:
    for keys, text in HELP:
        (line,) = paged(see(BAD, "h", state=ViewState(language="zh")), 200)[1:][
            [each for each, _ in HELP].index(keys) :
        ][:1]
        assert line == keys.ljust(13) + chinese(text)


def test_in_chinese_a_row_and_what_happens_between_polls_are() -> None:
    row = ViewState(page=RowKey(("443", "inbound")), language="zh")
    lines = paged(see(BAD, state=row))
    assert lines[0] == "详情"
    assert ["端口", "443"] in [line.split() for line in lines]
    assert ["方向", "入站"] in [line.split() for line in lines]
    first = making.scene(making.snapshot(counting(100, 3), at=making.NOW.wall - 5))
    second = first.saw(making.sighting(making.snapshot(counting(160, 4))))
    title, heads, line = paged(see(second, "b", state=ViewState(language="zh")))
    assert (title, heads.split()[:3]) == ("两次采样之间，每秒", ["端口", "方向", "建立"])
    assert columns(heads) == columns(line) == 58
