"""Namespaces come and go, and so do their processes; sockmon follows."""

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from sockmon.clock import now
from sockmon.kernel.inspector import Inspector
from sockmon.kernel.netns.discovery import Place
from sockmon.model.observation import Observation
from sockmon.model.states import TcpState
from tests.lab import NetNs, eventually, states
from tests.polling import polling
from tests.resident import name_of, nomad, resident, seeing_pids

pytestmark = pytest.mark.root


def listeners(observation: Observation) -> dict[str, int]:
    """How many sockets in LISTEN were seen in each of the others, in which there was a look."""
    assert observation.failures == ()
    return {
        namespace.name: sum(counts[TcpState.LISTEN] for counts in namespace.tcp.value.values())
        for namespace in observation.namespaces[1:]
        if namespace.tcp is not None
    }


def test_a_process_that_moves_is_followed_and_what_it_left_is_let_go() -> None:
    with nomad() as traveller, polling(seeing_pids(traveller.pid)) as monitor:
        for _ in range(5):
            inode = traveller.move()
            assert listeners(monitor.poll(now)) == {f"netns-{inode}": 1}
        traveller.move(listeners=0)
        assert listeners(monitor.poll(now)) == {}


def test_what_was_asked_about_a_namespace_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the holders of its sockets would be looked for as long as the daemon runs."""
    forgotten = list[object]()
    monkeypatch.setattr(Inspector, "forget", lambda _, asker: forgotten.append(asker))
    with nomad() as traveller, polling(seeing_pids(traveller.pid)) as monitor:
        for moves in range(3):
            traveller.move()
            listeners(monitor.poll(now))
            assert len(forgotten) == moves


def test_sockets_stay_where_they_were_opened() -> None:
    with (
        NetNs() as netns,
        resident(netns) as pid,
        nomad() as traveller,
        polling(seeing_pids(pid, traveller.pid)) as monitor,
    ):
        traveller.move(netns.path, listeners=3)
        assert listeners(monitor.poll(now)) == {name_of(netns): 3}
        second = f"netns-{traveller.move(listeners=2, keep=True)}"
        assert listeners(monitor.poll(now)) == {name_of(netns): 3, second: 2}
        # Nobody is in the second any more, and only the listeners hold it.
        third = f"netns-{traveller.move(keep=True)}"
        assert listeners(monitor.poll(now)) == {name_of(netns): 3, third: 1}


def test_a_namespace_outlives_the_process_by_which_it_was_found() -> None:
    with NetNs() as netns, resident(netns) as second, ExitStack() as first, states.listen(netns):
        pid = first.enter_context(resident(netns))
        lowest = min(pid, second)
        with polling(seeing_pids(pid, second)) as monitor:
            seen = listeners(monitor.poll(now))
            os.kill(lowest, signal.SIGKILL)
            eventually(lambda: not Path(f"/proc/{lowest}/ns/net").exists())
            for _ in range(2):
                observation = monitor.poll(now)
                assert listeners(observation) == seen == {name_of(netns): 1}
            found = observation.namespaces[1]
            assert found.tcp is not None
            assert found.tcp.at == observation.at, "it was read, not remembered"


@contextmanager
def settled(*numbers: int) -> Iterator[tuple[dict[str, int], list[int]]]:
    """Namespaces that stay, with so many listeners each, by name; and the processes in them."""
    with ExitStack() as stack:
        made, pids = {}, []
        for number in numbers:
            netns = stack.enter_context(NetNs())
            pids.append(stack.enter_context(resident(netns)))
            stack.enter_context(states.listen(netns, count=number))
            made[name_of(netns)] = number
        yield made, pids


def test_namespaces_that_come_and_go_amid_polls_are_no_failures_and_disturb_no_other() -> None:
    with ExitStack() as stack:
        staying, pids = stack.enter_context(settled(3, 4, 5))
        travellers = [stack.enter_context(nomad()) for _ in range(2)]
        pids += [traveller.pid for traveller in travellers]
        monitor = stack.enter_context(polling(seeing_pids(*pids)))
        threads = stack.enter_context(ThreadPoolExecutor(len(travellers)))
        for _ in range(20):
            journeys = [threads.submit(traveller.move) for traveller in travellers]
            found = listeners(monitor.poll(now))
            assert {name: found.pop(name) for name in staying} == staying
            assert set(found.values()) <= {0, 1}
            arrived = {f"netns-{journey.result()}": 1 for journey in journeys}
            assert listeners(monitor.poll(now)) == staying | arrived
        for traveller in travellers:
            traveller.end()
        assert listeners(monitor.poll(now)) == staying


@pytest.mark.parametrize("ends", [False, True], ids=["moves", "ends"])
@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
@pytest.mark.parametrize("amid", ["looking", "polling"])
def test_a_namespace_that_is_left_amid_a_poll_is_no_failure(
    amid: str, *, known: bool, ends: bool
) -> None:
    found, armed = threading.Event(), threading.Event()
    with ExitStack() as stack:
        staying, pids = stack.enter_context(settled(3))
        traveller = stack.enter_context(nomad())
        see = seeing_pids(*pids, traveller.pid)
        left = f"netns-{traveller.move(listeners=1)}"
        then = dict(staying)

        def leave() -> None:
            armed.clear()
            if ends:
                traveller.end()
            else:
                then[f"netns-{traveller.move(listeners=2)}"] = 2

        def look() -> Mapping[str, Place]:
            places = see()
            found.set()
            if amid == "looking" and armed.is_set():
                leave()
            return places

        def cpu() -> float:
            """Be read before the namespaces are polled, and when each has been."""
            if amid == "polling" and armed.is_set() and found.is_set():
                leave()
            return 0.0

        monitor = stack.enter_context(polling(look))
        if known:
            assert listeners(monitor.poll(now)) == {**staying, left: 1}
        found.clear()
        armed.set()
        seen = listeners(monitor.poll(now, cpu))
        assert not armed.is_set()
        assert seen.pop(left, 0) in {0, 1}, "what was there, or is; not what is elsewhere now"
        assert seen == staying
        assert listeners(monitor.poll(now)) == then
