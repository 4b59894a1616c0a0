"""Dead peers: connections whose other end no longer answers.

The retransmission timer counts tries without an answer. So does the zero-window probe, which is
what the kernel falls back to when this host's own link is down; a peer that answers probes, however
long its window stays closed, keeps that count at 0 (net/ipv4/tcp_input.c, tcp_ack()).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sockmon.detect import evidence
from sockmon.detect.commands import only, see
from sockmon.detect.detector import (
    Count,
    Detector,
    DetectorThresholds,
    Rule,
    judge_groups,
    threshold,
)
from sockmon.detect.evidence import inodes, place, who
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Advice, Breakdown, Command, Finding, FindingKey, Quantity
from sockmon.model.owner import Group
from sockmon.model.states import TcpState

NAME = "dead_peer"

_RETRANSMIT, _KEEPALIVE, _ZERO_WINDOW_PROBE = 1, 2, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """How many of one group may be without an answer, after how many tries."""

    unanswered_retransmits: Count = threshold(5, "a connection counts after so many tries")
    warning_sockets: Count = threshold(5, "of one direction, port and owner")
    critical_sockets: Count = threshold(50, "of one direction, port and owner")


def find(data: DetectorInput, thresholds: Thresholds) -> Iterator[Finding]:
    """Yield a finding for each group with enough connections whose peer does not answer."""
    table = data.table
    tried = np.flatnonzero(table.retransmits >= thresholds.unanswered_retransmits)  # few, if any
    dead = tried[
        (table.state[tried] == TcpState.ESTABLISHED)
        & (table.send_queue[tried] > 0)
        & np.isin(table.timer[tried], (_RETRANSMIT, _ZERO_WINDOW_PROBE))
    ]
    most = thresholds.warning_sockets, thresholds.critical_sockets
    for group, rows, subject, key, judged in judge_groups(data, NAME, dead, *most):
        yield Finding(
            detector=NAME,
            severity=judged,
            netns=data.netns,
            subject=subject,
            value=int(rows.size),
            limit=thresholds.warning_sockets,
            summary=(
                f"{rows.size} established connections {place(group)} get no answer after up to "
                f"{table.retransmits[rows].max()} tries: their peers seem gone"
            ),
            evidence=_evidence(data, key, group, rows),
            advice=_advice(data, group, rows, who(data.owners.get(group))),
            group=group,
            inodes=inodes(table, rows),
        )


def _evidence(
    data: DetectorInput, key: FindingKey, group: Group, rows: NDArray[np.intp]
) -> dict[str, Quantity | Breakdown]:
    table = data.table
    previous = data.past.get(key)
    idle, with_keepalive = _keepalive(data, group)
    return {
        "peers": evidence.peers(data, rows),
        "most_retransmits": evidence.count(table.retransmits[rows].max()),
        "retransmitting": evidence.sockets((table.timer[rows] == _RETRANSMIT).sum()),
        "probing": evidence.sockets((table.timer[rows] == _ZERO_WINDOW_PROBE).sum()),
        "unacknowledged": evidence.size(table.send_queue[rows].astype(np.int64).sum()),
        "observed": evidence.seconds(data.now - previous.samples[0][0] if previous else 0.0),
        "idle_connections": evidence.sockets(idle),
        "idle_connections_with_keepalive": evidence.sockets(with_keepalive),
    }


def _keepalive(data: DetectorInput, group: Group) -> tuple[int, int]:
    """Return how many of the group's connections are idle, and how many of these have keepalive.

    A busy one shows another timer.
    """
    table, directions = data.table, data.directions
    idle = table.timer[
        (table.state == TcpState.ESTABLISHED)
        & (directions.port == group.port)
        & (directions.is_inbound == (group.direction == "inbound"))
        & (table.cgroup_id == group.cgroup_id)
        & (table.send_queue == 0)
    ]
    return int(idle.size), int((idle == _KEEPALIVE).sum())


def _advice(
    data: DetectorInput, group: Group, rows: NDArray[np.intp], holder: str
) -> tuple[Advice, ...]:
    peer = str(data.peers(rows, 1)[0][0])
    probing = int((data.table.timer[rows] == _ZERO_WINDOW_PROBE).sum())
    advice = [
        Advice(
            "The kernel sends the same data again and again, and nothing is acknowledged: the peer "
            "has lost power or its network, or a firewall between has forgotten the connection. "
            f"{holder} does not know, and waits."
        )
    ]
    if probing:
        advice.append(
            Advice(
                f"{probing} are probing instead of retransmitting: that is also what a link of "
                "this host that is down looks like. Check the links first.",
                Command("ip -br link"),
                "look",
            )
        )
    advice += [
        Advice("Which way do packets to the peer go?", Command(f"ip route get {peer}"), "look"),
        Advice(
            "Does the peer answer at all? Do the peers have an address, a rack or a firewall in "
            "common?",
            Command(f"ping -c 3 {peer}"),
            "look",
        ),
        Advice(
            "The kernel gives up after net.ipv4.tcp_retries2 tries (15 unless set: some 15 "
            f"minutes). {holder} should set TCP_USER_TIMEOUT, or a write timeout of its own. "
            "Keepalive does not help while data is unacknowledged."
        ),
    ]
    idle, with_keepalive = _keepalive(data, group)
    if idle > with_keepalive:
        advice.append(
            Advice(
                f"Of its {idle} idle connections only {with_keepalive} have keepalive: if the "
                "peers of the others are gone too, nothing here will notice."
            )
        )
    filter_ = only(group.direction, group.port)
    advice.append(see("-tnpoi", TcpState.ESTABLISHED, filter_=filter_))
    return tuple(advice)


DETECTOR = Detector(
    name=NAME,
    about="ESTABLISHED, but the other end has vanished",
    title="Peers have vanished",
    actor="The peers, or the network to them",
    state=TcpState.ESTABLISHED,
    thresholds=Thresholds,
    find=find,
    needs_whole_table=True,
    rule=Rule(
        summary="established connections have dead peers",
        explanation=(
            "Data goes unanswered on connections that the kernel still believes in: the peers, or "
            "the path to them, have gone."
        ),
    ),
)
