"""Dead peers: connections that only this end still believes in.

The retransmission timer counts tries without an answer. So does the zero-window probe, which is
what the kernel falls back to when this host's own link is down; a peer that answers probes, however
long its window stays closed, keeps that count at 0 (net/ipv4/tcp_input.c, tcp_ack()).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sockmon.detect.detector import Count, Detector, DetectorThresholds, judge_groups
from sockmon.detect.evidence import inodes, only, place, who
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Finding, FindingKey
from sockmon.model.owner import Group
from sockmon.model.states import TcpState

NAME = "dead_peer"

_RETRANSMIT, _KEEPALIVE, _ZERO_WINDOW_PROBE = 1, 2, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """How many of one group may be without an answer, after how many tries."""

    unanswered_retransmits: Count = 5
    warning_sockets: Count = 5
    critical_sockets: Count = 50


def find(sight: DetectorInput, limits: Thresholds) -> Iterator[Finding]:
    """Yield a finding for each group with enough connections whose peer does not answer."""
    table = sight.table
    tried = np.flatnonzero(table.retransmits >= limits.unanswered_retransmits)  # few, if any
    dead = tried[
        (table.state[tried] == TcpState.ESTABLISHED)
        & (table.send_queue[tried] > 0)
        & np.isin(table.timer[tried], (_RETRANSMIT, _ZERO_WINDOW_PROBE))
    ]
    most = limits.warning_sockets, limits.critical_sockets
    for group, rows, subject, key, judged in judge_groups(sight, NAME, dead, *most):
        evidence = _evidence(sight, key, group, rows)
        yield Finding(
            detector=NAME,
            severity=judged,
            netns=sight.netns,
            subject=subject,
            value=int(rows.size),
            limit=limits.warning_sockets,
            summary=(
                f"{rows.size} established connections {place(group)} get no answer after up to "
                f"{evidence['retransmits_most']} tries: their peers seem gone"
            ),
            evidence=evidence,
            advice=_advice(group, who(sight.owners.get(group)), evidence),
            group=group,
            inodes=inodes(table, rows),
        )


DETECTOR = Detector(NAME, "SockmonDeadPeer", Thresholds, find, needs_whole_table=True)


def _evidence(
    sight: DetectorInput, key: FindingKey, group: Group, rows: NDArray[np.intp]
) -> dict[str, Any]:
    table = sight.table
    past = sight.past.get(key)
    return {
        "peers": sight.peers(rows),
        "retransmits_most": int(table.retransmits[rows].max()),
        "retransmitting": int((table.timer[rows] == _RETRANSMIT).sum()),
        "probing": int((table.timer[rows] == _ZERO_WINDOW_PROBE).sum()),
        "unacknowledged_bytes": int(table.send_queue[rows].astype(np.int64).sum()),
        "observed_seconds": round(sight.now - past.samples[0][0], 1) if past else 0.0,
        "keepalive": _keepalive(sight, group),
    }


def _keepalive(sight: DetectorInput, group: Group) -> dict[str, int]:
    """Say how many of the group's idle connections have it: a busy one shows another timer."""
    table, directions = sight.table, sight.directions
    idle = table.timer[
        (table.state == TcpState.ESTABLISHED)
        & (directions.port == group.port)
        & (directions.is_inbound == (group.direction == "inbound"))
        & (table.cgroup_id == group.cgroup_id)
        & (table.send_queue == 0)
    ]
    return {"idle_sockets": int(idle.size), "of_them_set": int((idle == _KEEPALIVE).sum())}


def _advice(group: Group, holder: str, evidence: dict[str, Any]) -> tuple[str, ...]:
    peer = evidence["peers"][0]["address"]
    advice = [
        (
            "The kernel sends the same data again and again, and nothing is acknowledged: the peer "
            "has lost power or its network, or a firewall between has forgotten the "
            f"connection; {holder} does not know, and waits."
        ),
    ]
    if evidence["probing"]:
        advice.append(
            f"{evidence['probing']} are probing instead of retransmitting: that is also what a "
            "link of this host that is down looks like. Look here first: ip -br link; ip route get "
            f"{peer}"
        )
    advice += [
        (
            f"Look at the path: ping {peer}; ip route get {peer}; and whether the peers have an "
            "address, a rack or a firewall in common."
        ),
        (
            "The kernel gives up after net.ipv4.tcp_retries2 tries (15 unless set: some 15 "
            f"minutes); {holder} should set TCP_USER_TIMEOUT, or a write timeout of its own. "
            "Keepalive does not help while data is unacknowledged."
        ),
    ]
    keepalive = evidence["keepalive"]
    if keepalive["idle_sockets"] > keepalive["of_them_set"]:
        advice.append(
            f"Of its {keepalive['idle_sockets']} idle connections only {keepalive['of_them_set']} "
            "have keepalive: if the peers of the others are gone too, nobody will ever notice."
        )
    advice.append(f"See them: ss -tnpoi state established {only(group.direction, group.port)}")
    return tuple(advice)
