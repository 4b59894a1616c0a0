"""However many ports, programs and units a user makes up, findings are bounded in number."""

from collections.abc import Iterable

import numpy as np
import pytest

from sockmon.detect.detector import PORTS_APART
from sockmon.detect.registry import MOST_FINDINGS, Detect, diagnose, thresholds_of
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Finding
from sockmon.model.owner import Process
from sockmon.model.states import TcpState
from tests.unit.detect.builders import (
    HOUR,
    Sock,
    accepted,
    facts,
    judge,
    listening,
    looked_up,
    owned,
    sight,
)

MANY = 300


def ports(count: int, **others: object) -> list[Sock]:
    """So many ports that are listened on, with twelve connections in CLOSE_WAIT each."""
    made = []
    for number in range(count):
        port = 1024 + number
        leak = accepted(TcpState.CLOSE_WAIT, port, age=HOUR, inode=1_000 * (1 + number))
        made += [listening(port, inode=1), *leak.times(12, **others)]
    return made


def found(data: DetectorInput) -> tuple[Finding, ...]:
    return diagnose(data, thresholds_of(Detect()))


def test_a_program_that_leaks_on_many_ports_has_one_finding() -> None:
    data = owned(sight(ports(MANY)))
    (finding,) = judge("close_wait_leak").all(data)
    assert finding.subject.port is None
    assert finding.value == 12 * MANY
    assert f"accepted on {MANY} ports" in finding.summary
    assert facts(finding)["ports"] == {f"inbound port {1024 + n}": "12 sockets" for n in range(5)}
    assert len(set(finding.inodes)) == 12 * MANY, "all their holders are looked up"


def test_up_to_twenty_ports_have_findings_of_their_own() -> None:
    data = owned(sight(ports(PORTS_APART)))
    leaking = {finding.subject.port for finding in judge("close_wait_leak").all(data)}
    assert leaking == set(range(1024, 1024 + PORTS_APART))


def test_small_leaks_beside_many_large_ones_are_of_the_same_finding() -> None:
    few = accepted(TcpState.CLOSE_WAIT, 5000, age=HOUR, inode=7_000_000).times(2)
    data = owned(sight([*ports(MANY), listening(5000, inode=1), *few]))
    assert [finding.value for finding in judge("close_wait_leak").all(data)] == [12 * MANY + 2]


@pytest.mark.parametrize("name", ["unread_data", "closing_stalled"])
def test_any_detector_of_groups_joins_an_owners_many_ports(name: str) -> None:
    made: list[Sock] = []
    state = TcpState.LAST_ACK if name == "closing_stalled" else TcpState.ESTABLISHED
    for number in range(MANY):
        one = accepted(
            state, 1024 + number, receive_queue=9, send_queue=9, retransmits=9, timer=1,
            age=HOUR, inode=1_000 * (1 + number), received=HOUR,
        )  # fmt: skip
        made += [listening(1024 + number, inode=1), *one.times(12)]
    findings = judge(name).all(owned(sight(made, waited=HOUR)))
    assert len(findings) == 1
    assert findings[0].subject.port is None
    assert findings[0].value == 12 * MANY
    assert f"accepted on {MANY} ports" in findings[0].summary
    assert len(facts(findings[0])["ports"]) == 5
    assert facts(findings[0]).get("connections_of_the_group") in (None, f"{12 * MANY} sockets")


def programs(data: DetectorInput, inodes: Iterable[int]) -> DetectorInput:
    """The same, with each socket's port held by a program of its own."""
    holders = {i: (Process(i // 1_000, f"program-{i // 1_000}"),) for i in inodes if i > 1}
    return looked_up(data, holders)


def test_beyond_forty_findings_of_a_kind_one_more_says_that_there_are_others() -> None:
    data = sight(ports(MANY))
    data = programs(data, np.unique(data.table.inode).tolist())
    findings = [f for f in found(data) if f.detector == "close_wait_leak"]
    assert len(findings) == MOST_FINDINGS + 1
    assert len({finding.key for finding in findings}) == MOST_FINDINGS + 1
    last = findings[-1]
    assert last.summary.startswith(f"there are more than {MOST_FINDINGS} findings of this kind")
    assert (last.subject.port, last.subject.owner, last.advice) == (None, None, ())
    assert last.severity == "warning"


def test_addresses_of_a_port_are_services_of_their_own_however_many() -> None:
    made: list[Sock] = []
    for number in range(MANY):
        address = f"127.0.{1 + number // 250}.{1 + number % 250}"
        leak = accepted(TcpState.CLOSE_WAIT, 80, local=address, age=HOUR, inode=1_000 + 12 * number)
        made += [listening(80, local=address, inode=1), *leak.times(12)]
    data = sight(made)
    program = (Process(7, "program"),)
    data = looked_up(data, {i: program for i in data.table.inode.tolist() if i > 1})
    (finding,) = judge("close_wait_leak").all(data)
    assert finding.value == 12 * MANY
