"""Connections are counted in every namespace that has series, under its name."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from sockmon.clock import now
from sockmon.model.names import OTHER
from sockmon.model.observation import NamespaceObservation, Observation
from sockmon.settings import Events
from tests.eventing import named
from tests.lab import NetNs, eventually, states
from tests.live.test_events_counted import PORT, play
from tests.live.test_events_helper import events_helper
from tests.polling import EVERYWHERE, polling
from tests.resident import name_of, resident, seeing_pids

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("free_rows")]


def counted(observation: Observation, netns: str) -> dict[tuple[str, int | None], dict[str, int]]:
    """As play() returns it."""
    assert observation.events is not None
    return {
        (its.direction, its.port): named(its.counts)
        for its in observation.events.by_namespace.get(netns, ())
        if its.port in (PORT, PORT + 1)
    }


def test_each_namespace_has_its_own_counts_under_its_name(tmp_path: Path) -> None:
    socket = tmp_path / "events"
    config = replace(EVERYWHERE, events=Events(enabled=True, helper_socket=str(socket)))
    with ExitStack() as stack:
        stack.enter_context(events_helper(socket))
        namespaces = [stack.enter_context(NetNs()) for _ in range(2)]
        pids = [stack.enter_context(resident(netns)) for netns in namespaces]
        for netns in namespaces:
            stack.enter_context(states.listen(netns))
        unseen = stack.enter_context(NetNs())
        poller = stack.enter_context(polling(seeing_pids(*pids), config))

        def is_ready() -> bool:
            observation = poller.poll(now)
            shown = {each.name for each in observation.shown}
            return observation.events is not None and {*map(name_of, namespaces)} <= shown

        eventually(is_ready)
        true = {name_of(netns): play(netns, 2 + at) for at, netns in enumerate(namespaces)}
        play(unseen, 5)

        def seen() -> dict[str, object]:
            observation = poller.poll(now)
            others = observation.events.by_namespace.get(OTHER, ()) if observation.events else ()
            opened = sum(its.counts.opened for its in others)
            return {name: counted(observation, name) for name in true} | {"": opened >= 50}

        eventually(seen, until={**true, "": True}.__eq__)


def test_a_namespace_without_series_is_judged_as_well(tmp_path: Path) -> None:
    socket = tmp_path / "events"
    config = replace(EVERYWHERE, events=Events(enabled=True, helper_socket=str(socket)))
    config = replace(config, poll=replace(config.poll, top_namespaces=0))
    with ExitStack() as stack:
        stack.enter_context(events_helper(socket))
        netns = stack.enter_context(NetNs())
        pid = stack.enter_context(resident(netns))
        stack.enter_context(states.listen(netns))
        poller = stack.enter_context(polling(seeing_pids(pid), config))

        def its() -> NamespaceObservation | None:
            observation = poller.poll(now)
            if observation.events is None:
                return None
            mine = (each for each in observation.folded if each.name == name_of(netns))
            return next(mine, None)

        eventually(its)
        for _ in range(30):
            with netns.socket() as client, pytest.raises(ConnectionRefusedError):
                client.connect(("127.0.0.1", PORT + 1))

        def found() -> set[tuple[str, int | None]]:
            there = its()
            if there is None or there.diagnosis is None:
                return set()
            return {(each.detector, each.subject.port) for each in there.diagnosis.value.findings}

        eventually(found, until=lambda seen: ("connect_failures", PORT + 1) in seen)
