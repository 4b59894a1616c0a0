"""What covers the overview: a finding, a row, the help."""

from sockmon.top.choice import RowKey, ViewState
from sockmon.top.keys import KEYS
from tests.unit.top import making
from tests.unit.top.looking import paged, see

BAD = making.scene(making.snapshot(making.namespace(findings=[making.finding(port=443)])))


def test_a_finding_tells_what_to_do_before_its_evidence() -> None:
    lines = paged(see(BAD, "1"), 100)
    assert lines[0] == "FINDING 1 of 1"
    advice = lines.index("  - shop must close these sockets.")
    evidence = lines.index("    oldest: 1m1s")
    assert 0 < advice < evidence < lines.index("    held by: shop[4711], 10 of 1024 descriptors")
    assert any("SockmonCloseWaitLeak.md" in line for line in lines)


def test_a_finding_that_goes_while_it_is_read_is_said_to_have_gone() -> None:
    state = see(BAD, "1").state
    assert paged(see(making.scene(), state=state)) == ["FINDING", "This finding has gone."]


def test_a_row_is_told_whole_with_what_is_wrong_with_it() -> None:
    row = ViewState(page=RowKey("port", ("443", "inbound")))
    lines = paged(see(BAD, state=row))
    assert ["PORT", "443"] in [line.split() for line in lines]
    assert ["ESTABLISHED", "5", "71%"] in [line.split() for line in lines]
    assert "  - shop must close these sockets." in lines
    assert lines[-1] == "  sockmon count --port 443 --by direction,owner,peer,state"
    gone = ViewState(page=RowKey("port", ("1", "inbound")))
    assert paged(see(BAD, state=gone)) == ["DETAILS", "This row has gone."]


def test_the_command_for_a_row_names_its_namespace_safely() -> None:
    hostile = "a b;\x1b"
    many = making.scene(making.snapshot(making.namespace(), making.namespace(netns=hostile)))
    row = ViewState(page=RowKey("port", ("443", "inbound", hostile)))
    assert paged(see(many, state=row))[-1] == (
        "  sockmon count --netns 'a b;\\x1b' --port 443 --by direction,owner,peer,state"
    )


def test_the_help_names_every_key() -> None:
    text = "\n".join(paged(see(BAD, "h")))
    names = {"question_mark": "?", "escape": "esc"}
    digits = set("23456789")
    for key in KEYS:
        name = key.names.split(",")[0]
        if name not in {*digits, "question_mark"}:
            assert names.get(name, name) in text
