"""Many namespaces: the worst first, whatever one is looked at; how old and how sure it all is."""

from dataclasses import replace

import pytest

from sockmon.client.snapshot import Snapshot
from sockmon.top.choice import ViewState
from sockmon.top.scene import verdict
from tests.unit.top import making
from tests.unit.top.looking import rows, see, texts
from tests.unit.top.making import NOW

HINT = "2 are seen from outside: root would see them inside"


def leaking(netns: str = "shop", at: float = NOW.wall) -> making.Json:
    return making.namespace(at, netns=netns, findings=[making.finding(port=443, netns=netns)])


MANY = making.snapshot(
    making.namespace(), leaking(), *(making.namespace(netns=f"pod-{n:02}") for n in range(98))
)


@pytest.mark.parametrize("pressed", ["", "g", "nn", "gnn"])
def test_the_worst_is_told_first_with_its_namespace_whatever_is_chosen(pressed: str) -> None:
    assert see(MANY, *pressed).verdict.text.startswith("WARNING  shop: shop has not closed")


def test_one_namespace_by_itself() -> None:
    assert see(MANY).when.text.startswith("800 sockets")
    shown = see(MANY, "n")
    assert shown.where.text == "shop on db-7, every 5 s"
    assert shown.when.text.startswith("8 sockets")
    assert shown.table_title == "PORTS 2"
    assert rows(shown)[0][:3] == ["!", "443", "inbound"]
    assert not see(MANY, "n", "n").findings


def test_a_namespace_that_has_gone_is_said_to_have() -> None:
    assert "netns shop is not there" in texts(see(making.snapshot(), state=ViewState(netns="shop")))


def test_what_is_known_of_the_hosts_own_only_is_no_others() -> None:
    (note,) = see(MANY, "n", "g", "g", "g").table_notes
    assert "asking the kernel, to group by peer" in note.text


def test_what_waits_for_its_turn_is_told_when_it_is_old() -> None:
    slow = making.namespace(NOW.wall - 60, netns="slow", beat_seconds=60.0)
    shown = see(making.snapshot(making.namespace(), slow))
    assert shown.verdict.text == "OK  the sockets are healthy, in 2 namespaces"
    assert shown.states_title.startswith("STATES, some as they were 1m ago")
    recent = making.namespace(NOW.wall - 5, netns="recent", beat_seconds=5.0)
    titles = texts(see(making.snapshot(leaking(), recent)))
    assert not any("as they were" in title for title in titles)


def test_a_paced_table_of_the_hosts_own_is_as_old_as_it_is() -> None:
    part = making.namespace(beat_seconds=60.0)
    for name in ("tcp", "ports"):
        part[name]["taken_at"] = NOW.wall - 30
    shown = see(making.snapshot(part))
    assert shown.verdict.text.startswith("OK")
    assert shown.states_title.startswith("STATES as they were 30s ago")
    assert shown.table_title == "PORTS 2 as they were 30s ago"
    # It is no gap in what is remembered: nobody failed.
    assert shown.scene.trend.samples[-1][1] is not None


def words(seen: Snapshot) -> str:
    told = verdict(making.scene(seen), NOW.monotonic)
    return f"{told.word} {told.text}"


def test_nothing_unseen_is_called_well() -> None:
    well = making.namespace()
    outside = making.namespace(netns="x", degraded=True, findings=None, diagnosed_at=None)
    assert words(making.snapshot(well, outside, hints=[HINT])) == f"UNKNOWN {HINT}"
    new = making.namespace(netns="new", tcp=None, ports=None, findings=None, diagnosed_at=None)
    assert words(making.snapshot(well, new)) == (
        "LOOKING 1 of 2 namespaces have not been looked at yet"
    )
    failing = making.namespace(NOW.wall - 60, netns="y")
    assert words(making.snapshot(well, failing)).startswith("UNKNOWN y: not diagnosed for 1m")


def test_limits_say_whose_they_are_unless_one_is_chosen() -> None:
    two = making.snapshot(making.namespace(), making.namespace(netns="web"))
    assert any("web: ephemeral ports 40/28,232" in text for text in texts(see(two)))
    chosen = replace(two, parts=tuple(reversed(two.parts)))
    assert not any("web: " in text for text in texts(see(chosen, "n")))
