"""Many namespaces: the worst first, whatever one is looked at; how old and how sure it all is."""

from dataclasses import replace

import pytest

from sockmon.client.snapshot import Snapshot
from sockmon.top.keys import ViewState, press
from sockmon.top.lines import Size, plain_text
from sockmon.top.scene import Scene, verdict
from sockmon.top.view import frame
from tests.unit.top import making
from tests.unit.top.making import NOW

ROOM = Size(80, 24)
WIDE = Size(160, 24)
HINT = "2 are seen from outside: root would see them inside"


def leaking(netns: str = "shop", at: float = NOW.wall) -> making.Json:
    return making.namespace(at, netns=netns, findings=[making.finding(port=443, netns=netns)])


def shown(seen: Snapshot, *pressed: str, size: Size = ROOM) -> list[str]:
    scene, state = making.scene(seen), ViewState()
    for key in (*pressed, None):
        drawn = frame(scene, state, size, NOW.monotonic)
        if key is not None:
            state = press(state, key, scene, drawn.layout)
    return [plain_text(line) for line in drawn.lines]


def words(scene: Scene) -> str:
    told = verdict(scene, NOW.monotonic)
    return f"{told.word} {told.text}"


MANY = making.snapshot(
    making.namespace(), leaking(), *(making.namespace(netns=f"pod-{n:02}") for n in range(98))
)


@pytest.mark.parametrize("size", [Size(80, 24), Size(40, 10)], ids=str)
@pytest.mark.parametrize("pressed", ["", "g", "nn", "gnn"])
def test_the_worst_is_told_first_with_its_namespace_whatever_is_chosen(
    size: Size, pressed: str
) -> None:
    assert shown(MANY, *pressed, size=size)[0].startswith(" WARNING  shop: shop has not closed")


def test_one_namespace_alone() -> None:
    assert "800 sockets" in shown(MANY)[1]
    lines = shown(MANY, "n")
    assert lines[1].startswith(" shop on db-7, every 5 s")
    assert "8 sockets" in lines[1]
    assert any("PORTS 2" in line for line in lines)
    assert any(line.split()[:3] == ["!", "443", "inbound"] for line in lines)
    assert not any("close_wait_leak" in line or "!" in line for line in shown(MANY, "n", "n"))


def test_a_namespace_that_has_gone_is_said_to_have() -> None:
    scene = making.scene(making.snapshot())
    lines = frame(scene, ViewState(netns="shop"), Size(80, 24), NOW.monotonic).lines
    assert any(plain_text(line) == " netns shop is not there" for line in lines)


def test_what_is_known_of_the_hosts_own_alone_is_no_others() -> None:
    lines = shown(MANY, "n", "g", "g", "g")
    assert any("asking the kernel, to group by peer" in line for line in lines)


def test_what_waits_for_its_turn_is_told_when_it_is_old() -> None:
    slow = making.namespace(NOW.wall - 60, netns="slow", beat_seconds=60.0)
    lines = shown(making.snapshot(making.namespace(), slow))
    assert lines[0].startswith(" HEALTHY  this host's TCP sockets are well, in 2 namespaces")
    assert any("STATES, some as they were 1m ago" in line for line in lines)
    recent = making.namespace(NOW.wall - 5, netns="recent", beat_seconds=5.0)
    assert not any("as they were" in line for line in shown(making.snapshot(leaking(), recent)))


def test_a_paced_table_of_the_hosts_own_is_as_old_as_it_is() -> None:
    part = making.namespace(beat_seconds=60.0)
    for name in ("tcp", "ports"):
        part[name]["taken_at"] = NOW.wall - 30
    seen = making.snapshot(part)
    lines = shown(seen)
    assert lines[0].startswith(" HEALTHY")
    assert any("STATES as they were 30s ago" in line for line in lines)
    assert any("PORTS 2 as they were 30s ago" in line for line in lines)
    # It is no gap in what is remembered: nobody failed.
    assert making.scene(seen).trend.samples[-1][1] is not None


def test_nothing_unseen_is_called_well() -> None:
    well = making.namespace()
    outside = making.namespace(netns="x", degraded=True, findings=None, diagnosed_at=None)
    assert words(making.scene(making.snapshot(well, outside, hints=[HINT]))) == f"UNKNOWN {HINT}"
    new = making.namespace(netns="new", tcp=None, ports=None, findings=None, diagnosed_at=None)
    assert words(making.scene(making.snapshot(well, new))) == (
        "LOOKING 1 of 2 namespaces have not been looked at yet"
    )
    failing = making.namespace(NOW.wall - 60, netns="y")
    assert words(making.scene(making.snapshot(well, failing))).startswith(
        "UNKNOWN y: not diagnosed for 1m"
    )


def test_a_daemon_of_a_time_before_namespaces_is_read() -> None:
    old = making.document()
    assert "hints" not in old
    assert words(making.scene()) == "HEALTHY this host's TCP sockets are well"


def test_limits_say_whose_they_are_unless_one_is_chosen() -> None:
    two = making.snapshot(making.namespace(), making.namespace(netns="web"))
    assert any(" web: ephemeral ports 40/28,232" in line for line in shown(two, size=WIDE))
    chosen = replace(two, parts=tuple(reversed(two.parts)))
    assert not any("web: " in line for line in shown(chosen, "n", size=WIDE))


def test_findings_for_which_there_is_no_room_are_counted() -> None:
    two = making.snapshot(leaking("shop"), leaking("cart"))
    assert " 2 findings: press 1 to 2" in shown(two, size=Size(40, 10))
