"""Processes that stand still: who halted them must act, and not who would restart them."""

from dataclasses import replace

import pytest

from sockmon.detect.halted import explained
from sockmon.model.finding import Finding
from sockmon.model.owner import Halt, Manager, Process
from sockmon.model.states import TcpState
from tests.unit.detect.builders import (
    SHOP,
    accepted,
    commands,
    judge,
    listening,
    owned,
    sight,
    texts,
)

ID = "0123456789ab"


def stuck(*holders: Process) -> Finding:
    """A queue that nobody empties, with its holders."""
    socks = [listening(queue=5, limit=511)]
    socks += accepted(TcpState.ESTABLISHED, inode=0).times(5)
    return explained(judge("accept_queue").one(owned(sight(socks, waited=100.0), *holders)))


@pytest.mark.parametrize(
    ("halt", "unit", "manager", "said", "first"),
    [
        (Halt("stopped"), "shop.service", "system", "PID 4711 is stopped (SIGSTOP)",
         "kill -CONT 4711"),
        (Halt("traced", 99), "shop.service", "system", "PID 4711 is halted by a debugger, PID 99",
         "ps -fp 99"),
        (Halt("frozen"), "shop.service", "system", "PID 4711 is frozen",
         "systemctl thaw shop.service"),
        (Halt("frozen"), ID, "docker", "PID 4711 is frozen", f"docker unpause {ID}"),
        (Halt("uninterruptible"), "shop.service", "system",
         "PID 4711 waits in the kernel (state D)", "cat /proc/4711/stack"),
    ],
)  # fmt: skip
def test_it_is_said_and_what_helps_comes_first(
    halt: Halt, unit: str, manager: str, said: str, first: str
) -> None:
    found = stuck(replace(SHOP, halt=halt, unit=unit, manager=Manager(manager)))  # type: ignore[arg-type] # a str of the table above
    assert found.summary.endswith(f"; {said}")
    assert found.advice[0].command is not None
    assert found.advice[0].command.line == first
    assert found.advice[0].purpose == "stop"


def test_what_is_stopped_has_no_bug_to_be_found() -> None:
    found = stuck(replace(SHOP, halt=Halt("stopped")))
    assert "systemctl restart shop.service" in found.advice[0].text  # if nothing else helps
    assert not any("stack trace" in text for text in texts(found))
    assert "ss -tlnp '( sport = :443 )'" in commands(found)


def test_whoever_waits_in_the_kernel_is_restarted_only_after_that() -> None:
    found = stuck(replace(SHOP, halt=Halt("uninterruptible")))
    assert commands(found)[1] == "systemctl restart shop.service"


def test_of_many_only_those_that_stand_still_are_named() -> None:
    workers = [replace(SHOP, pid=pid, halt=Halt("stopped")) for pid in range(1, 8)]
    found = stuck(SHOP, *workers)
    assert found.summary.endswith("; PIDs 1, 2, 3, 4, 5, 2 more are stopped (SIGSTOP)")
    assert found.advice[0].command is not None
    assert found.advice[0].command.line == "kill -CONT 1 2 3 4 5 6 7"


def test_without_a_unit_or_a_debugger_that_is_known_there_is_still_advice() -> None:
    found = stuck(replace(SHOP, unit=None, halt=Halt("stopped")))
    assert found.advice[0].text.endswith("If that does not help, restart it.")
    found = stuck(replace(SHOP, halt=Halt("traced")))
    assert found.summary.endswith("; PID 4711 is halted by a debugger")
    assert found.advice[0].command is None


def test_whoever_runs_is_left_as_it_is() -> None:
    assert "PID" not in stuck(SHOP).summary
    timers = replace(judge("accept_queue").one(owned(sight([listening(queue=120)]))), note=True)
    assert explained(timers) is timers
