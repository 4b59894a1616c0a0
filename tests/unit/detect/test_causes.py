"""Which finding causes which: one trouble is one finding, with its symptoms."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from sockmon.detect.causes import with_causes
from sockmon.detect.registry import Detect, diagnose, thresholds_of
from sockmon.model.connects import Connects, Failing
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Finding
from sockmon.model.limits import PortRange
from sockmon.model.owner import Process
from sockmon.model.states import TcpState
from tests.unit.detect.builders import LIMITS, NOW, Sock, accepted, listening, looked_up, sight

API, CLIENT = Process(1, "api"), Process(2, "client")


def causes(data: DetectorInput) -> dict[str, str | None]:
    """The causes of what is found, by detector and direction."""
    found = [
        replace(each, owner=data.owners.get(each.group) if each.group else None)
        for each in diagnose(data, thresholds_of(Detect()))
    ]
    linked = with_causes(found, data)
    names = {each.key: _name(each) for each in linked}
    return {names[each.key]: each.cause and names[each.cause] for each in linked}


def _name(finding: Finding) -> str:
    port = f" {finding.subject.port}" if finding.detector == "unsent_data" else ""
    return f"{finding.detector} {finding.subject.direction}{port}"


def held(socks: Iterable[Sock], process: Process) -> dict[int, tuple[Process, ...]]:
    return {sock.inode: (process,) for sock in socks if sock.inode}


def calling(server: Sock, **others: Any) -> Sock:
    """The other end of an accepted connection."""
    ends = {"local": server.remote, "remote": server.local}
    ports = {"local_port": server.remote_port, "remote_port": server.local_port}
    return replace(server, **{**ends, **ports, **others})


def test_each_waiting_for_the_other_is_told_of_the_worst() -> None:
    """A stuck server whose clients have not read all of its last answers either."""
    listener = listening(443, queue=5, limit=511, inode=9)
    waiting = accepted(TcpState.ESTABLISHED, inode=0).times(5)
    served = [
        replace(sock, remote_port=51_000 + n, receive_queue=20)
        for n, sock in enumerate(accepted(TcpState.ESTABLISHED, inode=1000).times(12))
    ]
    callers = [
        calling(sock, inode=3000 + n, receive_queue=2 if sock.inode else 0)
        for n, sock in enumerate([*waiting, *served])
    ]
    seen = sight([listener, *waiting, *served, *callers], waited=100.0)
    holders = held([listener, *served], API) | held(callers, CLIENT)
    found = causes(looked_up(seen, holders))
    assert found["accept_queue inbound"] is None
    assert found["unread_data inbound"] == "accept_queue inbound"
    assert found["unread_data outbound"] is not None


def test_what_a_relay_does_not_read_waits_for_who_does_not_take_it() -> None:
    """Clients elsewhere do not read: a proxy stops reading, and the application cannot send."""
    closed: dict[str, Any] = {"timer": 4, "send_queue": 900}
    app = accepted(TcpState.ESTABLISHED, 9000, inode=1000, **closed).times(15)
    proxy = [
        calling(sock, inode=2000 + n, send_queue=0, receive_queue=900, timer=0)
        for n, sock in enumerate(app)
    ]
    front = accepted(TcpState.ESTABLISHED, 8080, inode=3000, remote="10.9.9.9", **closed).times(15)
    socks = [listening(9000), listening(8080), *app, *proxy, *front]
    holders = held(app, API) | held([*proxy, *front], CLIENT)
    assert causes(looked_up(sight(socks, waited=100.0), holders)) == {
        "unread_data outbound": "unsent_data inbound 8080",
        "unsent_data inbound 9000": "unread_data outbound",
        "unsent_data inbound 8080": None,
    }


def test_a_peer_that_is_gone_is_one_trouble() -> None:
    """Connections to it get no answer, nor do new ones."""
    dead = Sock(timer=1, retransmits=6, send_queue=10).times(4)
    calls = Sock(TcpState.SYN_SENT, timer=1, retransmits=3, remote_port=5432, inode=800).times(6)
    assert causes(sight([*dead, *calls], connects=Connects())) == {
        "dead_peer outbound": "connect_stalled outbound",
        "connect_stalled outbound": None,
    }
    elsewhere = [replace(sock, remote="10.0.0.9") for sock in calls]
    assert causes(sight([*dead, *elsewhere])) == {
        "dead_peer outbound": None,
        "connect_stalled outbound": None,
    }


def test_connects_to_a_full_queue_here_are_its_symptom_though_none_is_under_way() -> None:
    queue = [listening(25, queue=5, limit=4), *accepted(TcpState.ESTABLISHED, 25, inode=0).times(5)]
    place = 4, np.array([0x0100007F, 0, 0, 0], np.uint32).tobytes(), 25
    failing = Failing(NOW - 100, NOW - 5, 12, 9, 1, 1.0, 10.0, frozenset())
    assert causes(sight(queue, waited=100.0, connects=Connects({place: failing}))) == {
        "accept_queue inbound": None,
        "connect_stalled outbound": "accept_queue inbound",
    }
    far = 4, np.array([0x0909090A, 0, 0, 0], np.uint32).tobytes(), 25
    assert causes(sight(queue, waited=100.0, connects=Connects({far: failing}))) == {
        "accept_queue inbound": None,
        "connect_stalled outbound": None,
    }


def test_a_relay_waits_for_a_place_that_does_not_end_what_it_has_ended() -> None:
    """Its clients have gone, and it has passed that on: the other side's peers never close."""
    front = accepted(TcpState.CLOSE_WAIT, 8080, inode=1000, age=100.0).times(12)
    back = Sock(TcpState.FIN_WAIT2, inode=2000, age=100.0, remote_port=9000).times(12)
    relay = held([*front, *back], CLIENT)
    assert causes(looked_up(sight([listening(8080), *front, *back]), relay)) == {
        "close_wait_leak inbound": "fin_wait2_stuck outbound",
        "fin_wait2_stuck outbound": None,
    }
    others = held(front, API) | held(back, CLIENT)
    assert causes(looked_up(sight([listening(8080), *front, *back]), others)) == {
        "close_wait_leak inbound": None,
        "fin_wait2_stuck outbound": None,
    }


def test_ports_used_up_by_what_nobody_answers_or_closes_are_its_symptom() -> None:
    limits = replace(LIMITS, port_range=PortRange(40000, 40099))
    calls = Sock(TcpState.SYN_SENT, timer=1, retransmits=3).times(80)
    assert causes(sight(calls, limits)) == {
        "connect_stalled outbound": None,
        "ephemeral_port_pressure outbound": "connect_stalled outbound",
    }


def test_a_lost_host_is_one_trouble_whatever_its_services() -> None:
    dead = Sock(timer=1, retransmits=6, send_queue=10)
    socks = [*dead.times(6), *dead.times(5, remote_port=5432)]
    found = with_causes(diagnose(sight(socks), thresholds_of(Detect())), sight(socks))
    assert sorted(each.cause is None for each in found) == [False, True]
    here = [replace(sock, local="127.0.0.1", remote="127.0.0.1") for sock in socks]
    found = with_causes(diagnose(sight(here), thresholds_of(Detect())), sight(here))
    assert [each.cause for each in found] == [None, None]
