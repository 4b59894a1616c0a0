"""Namespaces as values: what their files say, which have series, what is made of a slow beat."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given as each
from hypothesis import strategies as st

from sockmon.export import json as render
from sockmon.history.store import History
from sockmon.kernel.cgroups import parse_cgroup
from sockmon.kernel.family import Family
from sockmon.kernel.netns.procfs_source import parse_sockets
from sockmon.kernel.netns.tracker import called, inhabitant
from sockmon.kernel.procfs import parse_occupied
from sockmon.model.newcomers import KEPT_FOR_SECONDS, Newcomers
from sockmon.model.observation import Observation, OtherNamespaces
from sockmon.poll.shown_namespaces import SeriesCandidate, shown_namespaces
from tests.unit.polls import at, everything, poll, rows_of, saw
from tests.unit.test_metrics import by_state, samples

V1 = "9:name=systemd:/system.slice/api.service\n8:pids:/\n"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("0::/system.slice/api.service\n", "/system.slice/api.service"),
        (V1, "/system.slice/api.service"),
        (V1 + "0::/\n", "/system.slice/api.service"),
        (V1 + "0::/user.slice/a:b\n", "/user.slice/a:b"),
        ("0::/\n", "/"),
        ("", "/"),
        ("nonsense", "/"),
    ],
)
def test_a_processs_cgroup(text: str, path: str) -> None:
    assert parse_cgroup(text) == path


@pytest.mark.parametrize(
    ("cgroup", "name"),
    [
        ("/system.slice/api.service", "api.service"),
        ("/system.slice/docker-" + 64 * "a" + ".scope", 12 * "a"),
        ("/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + 64 * "b" + ".scope", 12 * "b"),
        ("/machine.slice/machine-web.scope/init.scope", "machine-web.scope"),
        (
            "/machine.slice/systemd-nspawn@web.service/payload/init.scope",
            "systemd-nspawn@web.service",
        ),
        ("/init.scope", None),
        ("/", None),
    ],
)
def test_who_lives_in_a_namespace(cgroup: str, name: str | None) -> None:
    assert inhabitant(cgroup) == name


CONTAINER = "/system.slice/docker-" + 64 * "a" + ".scope"
UUID = "0b1f2c3d-1111-2222-3333-444455556666"


@pytest.mark.parametrize(
    ("given", "cgroup", "name"),
    [
        ("blue", CONTAINER, "blue"),
        ("cni-blue", CONTAINER, "cni-blue"),
        (None, CONTAINER, 12 * "a"),
        (f"cni-{UUID}", CONTAINER, 12 * "a"),
        (f"netns-{UUID}", CONTAINER, 12 * "a"),
        (UUID, CONTAINER, 12 * "a"),
        ("8d2f1c0a9b7e", CONTAINER, 12 * "a"),
        (f"cni-{UUID}", "/", f"cni-{UUID}"),
        (None, "/", None),
    ],
)
def test_a_name_that_an_engine_made_up_is_the_last_to_be_taken(
    given: str | None, cgroup: str, name: str | None
) -> None:
    assert called(given, cgroup) == name


EMPTY = "sockets: used 9\nTCP: inuse 0 orphan 3 tw 0 alloc 1702 mem 877\nUDP: inuse 0 mem 0\n"


@pytest.mark.parametrize(
    ("text", "occupied"),
    [
        (EMPTY, False),
        (EMPTY.replace("TCP: inuse 0", "TCP: inuse 1"), True),
        (EMPTY.replace("tw 0", "tw 2"), True),
        (EMPTY.replace("UDP: inuse 0", "UDP: inuse 1"), True),
        ("TCP6: inuse 0\nUDP6: inuse 0\nRAW6: inuse 4\n", False),
        ("TCP6: inuse 0\nUDP6: inuse 1\n", True),
    ],
)
def test_whether_there_are_sockets(text: str, *, occupied: bool) -> None:
    """Orphans, alloc and mem are the whole host's."""
    assert parse_occupied(text) is occupied


HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid ...\n"
LINE = (
    "   0: 0100007F:1F90 0200007F:D431 08 00000003:00000016 01:000000C8 00000002"
    "  1000        0 424242 1 0000000000000000 20 4 30 10 -1\n"
)


def test_a_line_of_proc_net_tcp() -> None:
    (row,) = parse_sockets(HEADER + LINE, Family.IPV4)
    told = {name: row[name] for name in row.dtype.names if name not in {"local", "remote"}}
    assert told == {
        "family": 2, "state": 8, "timer": 1, "retransmits": 2, "local_port": 8080,
        "remote_port": 54321, "interface": 0, "cookie": 0, "expires": 2000, "receive_queue": 22,
        "send_queue": 3, "uid": 1000, "inode": 424242,
    }  # fmt: skip
    assert row["local"].tolist() == [0x0100007F, 0, 0, 0]


def test_a_line_that_is_no_socket_is_no_zero() -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_sockets(HEADER + "   0: rubbish\n", Family.IPV4)


candidates = st.lists(
    st.builds(SeriesCandidate, st.text("abc", max_size=3), st.booleans(), st.integers(0, 9)),
    unique_by=lambda one: one.name,
)


@each(candidates, st.sets(st.text("abc", max_size=3)), st.integers(0, 10))
def test_no_more_than_top_namespaces_have_series(
    found: list[SeriesCandidate], before: set[str], top: int
) -> None:
    shown = shown_namespaces(found, before, top, 1000)
    assert len(shown) == min(top, len(found))
    troubled = {one.name for one in found if one.troubled}
    assert troubled <= shown or shown <= troubled, "the troubled come first"
    assert shown_namespaces(found, shown, top, 0) == shown, "and nothing changes by itself"


def test_namespaces_that_come_and_go_get_series_at_a_bounded_rate() -> None:
    shown, newcomers, ever = frozenset[str](), Newcomers(), set[str]()
    for second in range(600):
        found = [SeriesCandidate(f"netns-{second}-{n}", troubled=True, sockets=9) for n in (1, 2)]
        found.append(SeriesCandidate("shop", troubled=False, sockets=1))
        newcomers = newcomers.refilled(float(second), 10, KEPT_FOR_SECONDS)
        before = shown
        shown = shown_namespaces(found, before, 10, newcomers.room)
        newcomers = newcomers.spent(len(shown - before))
        ever |= shown
    assert "shop" in shown
    assert len(ever) <= 20


def shows(observation: Observation) -> dict[str, list[tuple[dict[str, str], float]]]:
    return samples(observation, observation.at.monotonic)


def test_what_is_not_shown_is_summed_and_that_is_said() -> None:
    pods = [replace(everything(at(0)), name=f"pod{n}", folded=n > 0) for n in range(3)]
    observation = replace(
        poll(at(0), everything(at(0)), *pods), neighbours=OtherNamespaces(inside=3)
    )
    shown = shows(observation)
    assert by_state(shown["sockmon_sockets"], netns="other") == {"established": 6}
    assert by_state(shown["sockmon_sockets"], netns="pod0") == {"established": 3}
    labels = {its["netns"] for rows in shown.values() for its, _ in rows if "netns" in its}
    assert labels == {"host", "pod0", "other"}
    assert shown["sockmon_namespaces_aggregated"] == [({}, 2)]
    assert ({"visibility": "inside"}, 3) in shown["sockmon_namespaces"]


def test_what_is_seen_from_outside_has_no_port_range_of_its_own() -> None:
    shown = shows(
        poll(at(0), everything(at(0)), replace(everything(at(0)), name="pod", degraded=True))
    )
    assert {its["netns"] for its, _ in shown["sockmon_ephemeral_ports_usable"]} == {"host"}
    assert {its["netns"] for its, _ in shown["sockmon_port_sockets"]} == {"host", "pod"}


def test_json_says_how_far_apart_a_namespaces_polls_are() -> None:
    slow = replace(saw(at(0), 1, name="pod"), beat=20.0)
    told = render.observation(poll(at(0), saw(at(0)), slow))
    assert [n["beat_seconds"] for n in told["namespaces"]] == [5.0, 20.0]


def test_history_has_neither_a_gap_nor_a_row_where_it_was_not_a_namespaces_turn() -> None:
    history = History()
    for second in range(0, 100, 5):
        last = second - second % 20
        pod = replace(saw(at(last), second, name="pod"), looked_at=at(last), beat=20.0)
        history.observe(poll(at(second), saw(at(second)), pod), at(second))
    rows = rows_of(history, "hour", "pod")
    assert [row.at for row in rows] == [at(second).monotonic for second in range(0, 100, 20)]
    assert not any(np.isnan(row.high[0]) for row in rows)
