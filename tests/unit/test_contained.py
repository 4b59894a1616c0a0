"""A part of sockmon that raises is counted and logged once, and the others go on."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import Metric

from sockmon.contained import COMPONENTS, Components
from sockmon.detect import close_wait_leak, registry, time_wait_pressure
from sockmon.detect.detector import DetectorThresholds
from sockmon.export import metrics
from sockmon.kernel import inspector as inspectors
from sockmon.kernel.inspector import Inspector
from sockmon.kernel.netlink.replay import replay
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Finding
from sockmon.model.observation import Observation
from sockmon.poll import diagnosis
from sockmon.poll.owner_tracker import OwnerTracker
from sockmon.poll.poller import Poller
from sockmon.settings import Config
from tests.lab import eventually
from tests.recorded import MIXED
from tests.unit.golden import BUILD, NOW, RELOAD, clock, observe


def _raising(data: DetectorInput, thresholds: DetectorThresholds) -> Iterator[Finding]:  # noqa: ARG001
    raise OverflowError("int too large to convert to float")


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> str:
    """One of the detectors raises; its name."""
    its = replace(time_wait_pressure.DETECTOR, find=_raising)
    detectors = tuple(its if d.name == its.name else d for d in registry.ALL)
    monkeypatch.setattr(diagnosis, "ALL", detectors)
    return its.name


def test_a_detector_that_raises_leaves_the_others_and_the_counts_alone(
    broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = COMPONENTS.counts.get(f"detect.{broken}", 0)
    poller = Poller(replay(MIXED), Config())
    try:
        seen = [poller.poll(clock()), poller.poll(clock())]
    finally:
        poller.close()
    for observation in seen:
        (host,) = observation.namespaces
        assert host.tcp is not None
        assert host.diagnosis is not None
        assert host.diagnosis.value.unavailable == {broken}
        assert not observation.looked(observation.diagnosed(), "host", broken)
        assert observation.looked(observation.diagnosed(), "host", close_wait_leak.NAME)
        (failure,) = (f for f in observation.failures if f.reason == "bug")
        assert failure.message == (
            f"detector {broken}: OverflowError: int too large to convert to float: please report "
            "this bug of sockmon"
        )
    assert COMPONENTS.counts[f"detect.{broken}"] > before
    assert COMPONENTS.failing[f"detect.{broken}"].startswith("OverflowError")
    assert [record.levelname for record in caplog.records] == ["ERROR"], "logged once"
    poller = Poller(replay(MIXED), Config())  # it works again, as after an update of the data
    poller.close()
    COMPONENTS.works(f"detect.{broken}", "host")


def test_a_diagnosis_that_raises_leaves_the_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def causes(*_: object) -> None:
        raise LookupError("a mistake of ours")

    monkeypatch.setattr(diagnosis, "with_causes", causes)
    observation = observe(MIXED)
    (host,) = observation.namespaces
    assert host.tcp is not None
    assert host.ports is not None
    assert host.diagnosis is None
    assert [f.reason for f in observation.failures] == ["bug"]
    COMPONENTS.works("diagnosis", "host")


def test_a_poll_that_raises_is_a_failure_of_its_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    def seen(*_: object, **__: object) -> None:
        raise LookupError("a mistake of ours")

    monkeypatch.setattr(OwnerTracker, "seen", seen)
    observation = observe(MIXED)
    (host,) = observation.namespaces
    assert host.looked_at == observation.at
    assert [f.reason for f in observation.failures] == ["bug"]
    assert observation.statistics.errors == {("host", "bug"): 1}
    COMPONENTS.works("poll", "host")


def test_a_look_into_processes_that_raises_leaves_the_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inspector = Inspector(Path("/proc"), patient=True)
    with monkeypatch.context() as patched:
        patched.setattr(inspectors, "look_for_cgroups", {}.__getitem__)
        inspector.ask("a", frozenset(), {1}, 0.0)
        eventually(lambda: "processes" in COMPONENTS.failing)
    assert inspector.ask("a", frozenset(), {1}, 1.0).units == {1: None}
    inspector.close()
    assert "processes" not in COMPONENTS.failing


def test_families_that_raise_are_left_out_whole_and_the_others_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    observation = observe(MIXED)
    whole = {family.name: family for family in _families(observation)}

    def ephemeral(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(metrics, "_add_ephemeral_ports", ephemeral)
    left = {family.name: family for family in _families(observation)}
    COMPONENTS.works("metrics.ports")
    missing = whole.keys() - left.keys()
    assert "sockmon_accept_queue_limit" in missing, "added before the failure, but not all of it"
    assert all(left[name].samples == whole[name].samples for name in left)
    assert {"sockmon_sockets", "sockmon_polls", "sockmon_time_wait_buckets"} <= left.keys()


def _families(observation: Observation) -> Iterator[Metric]:
    return metrics.families(observation, NOW.monotonic, BUILD, RELOAD)


def test_failures_are_a_counter() -> None:
    (family,) = (
        family
        for family in metrics.families(
            None, 0.0, BUILD, RELOAD, component_failures={"save.state": 3}
        )
        if family.name == "sockmon_component_failures"
    )
    assert [(s.name, s.labels, s.value) for s in family.samples] == [
        ("sockmon_component_failures_total", {"component": "save.state"}, 3)
    ]


def test_a_component_is_logged_when_it_begins_to_fail_and_when_all_of_it_works_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    components = Components()
    for where in ("host", "pod-1", "pod-2", "host"):
        components.failed("detect.x", ValueError("line\nbreak"), where)
    components.works("detect.x", "host")
    components.works("detect.x", "pod-1")
    assert components.failing == {"detect.x": "ValueError: line\\nbreak"}
    components.works("detect.x", "pod-2")
    assert components.failing == {}
    assert components.counts == {"detect.x": 4}
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert "\n" not in caplog.messages[0]
