"""TCP memory: a warning under pressure, critical near the end."""

from dataclasses import replace

import pytest

from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Subject
from sockmon.model.limits import KernelLimits, Sockstat, TcpMemoryLimits
from sockmon.model.states import TcpState
from tests.unit.detect.builders import (
    LIMITS,
    UNKNOWN,
    Sock,
    accepted,
    advises,
    commands,
    facts,
    has_hysteresis,
    judge,
    listening,
    owned,
    sight,
)

JUDGE = judge("tcp_memory_pressure")
MIB = 1 << 20
BOUNDS = TcpMemoryLimits(low=300 * MIB, pressure=400 * MIB, high=600 * MIB)


def memory(
    mib: float, socks: tuple[Sock, ...] = (), bounds: TcpMemoryLimits = BOUNDS
) -> DetectorInput:
    level = Sockstat(9, 0, 0, int(mib * MIB))
    return sight(socks, replace(LIMITS, sockstat=level, tcp_memory=bounds))


def test_its_limits_and_hysteresis() -> None:
    has_hysteresis(JUDGE, memory, (400, 360, 359), (540, 486, 485))


def test_a_warning_can_be_had_before_the_pressure() -> None:
    assert judge("tcp_memory_pressure", warning_pressure_ratio=0.5).severity(memory(200))


@pytest.mark.parametrize(
    "limits",
    [
        UNKNOWN,
        replace(LIMITS, sockstat=None),
        replace(LIMITS, tcp_memory=None),
        replace(LIMITS, tcp_memory=TcpMemoryLimits(0, 0, 0)),
    ],
)
def test_unknown_is_no_finding(limits: KernelLimits) -> None:
    assert JUDGE.all(sight((), limits)) == []


def test_it_names_the_largest_queues() -> None:
    found = JUDGE.one(
        owned(
            memory(
                450,
                (
                    *accepted(TcpState.ESTABLISHED, receive_queue=5 * MIB).times(40),
                    *Sock(remote_port=5432, send_queue=7 * MIB).times(2),
                    Sock(remote_port=25),
                    listening(80, queue=4000, limit=4096),
                ),
            )
        )
    )
    assert (found.subject, found.value, found.limit) == (Subject(), 0.75, 400 / 600)
    assert facts(found) == {
        "used": f"{450 * MIB} bytes",
        "low": f"{300 * MIB} bytes",
        "pressure": f"{400 * MIB} bytes",
        "high": f"{600 * MIB} bytes",
        "largest_queues": {
            "inbound port 443, shop.service": f"{200 * MIB} bytes",
            "outbound port 5432, shop.service": f"{14 * MIB} bytes",
        },
        "events": {},
    }
    assert "TCP takes 450 MiB: 75 % of what tcp_mem allows (600 MiB" in found.summary
    assert advises(found, "Most is unread, at inbound port 443")
    assert "ss -tnmpo '( sport = :443 )'" in commands(found)


def test_unacknowledged_data_is_the_peers() -> None:
    found = JUDGE.one(memory(450, tuple(Sock(send_queue=MIB).times(3))))
    assert advises(found, "Most is unacknowledged, at outbound port 443")


def test_memory_of_another_namespace_is_looked_for_there() -> None:
    found = JUDGE.one(memory(450))
    assert facts(found)["largest_queues"] == {}
    assert "sockmon doctor --namespaces all" in commands(found)
