"""What holds for every detector, whatever it is shown."""

import json
import re
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from sockmon.detect.detector import Detector, DetectorThresholds
from sockmon.detect.evidence_names import named
from sockmon.detect.registry import ALL, OF_PART, Detect, diagnose, thresholds_of
from sockmon.export.findings import findings
from sockmon.language import Text
from sockmon.model.ages import NO_AGES, NOTHING_HEARD, LastHeard
from sockmon.model.descriptors import Descriptors
from sockmon.model.detector_input import DetectorInput, PreviousFinding, Rates
from sockmon.model.direction import Directions, Listened, directions
from sockmon.model.finding import SEVERITIES, UNITS, Finding, FindingKey, Quantity
from sockmon.model.limits import (
    TCP_EVENTS,
    KernelLimits,
    PortRange,
    Sockstat,
    TcpMemoryLimits,
    TcpSettings,
    TimeWaitReuse,
)
from sockmon.model.listeners import (
    NONE_STUCK,
    DropWindow,
    listen_queues,
    listeners,
    listening_rows,
)
from sockmon.model.owner import Group, Process
from sockmon.model.ports import ephemeral_ports
from sockmon.model.queues import NO_QUEUES
from sockmon.model.states import RESTING_STATES
from sockmon.model.table import SocketTable
from tests.conftest import REPOSITORY
from tests.unit.detect.builders import NOW, commands, looked_up, texts
from tests.unit.strategies import port_ranges, socket_lists, table

each_detector = pytest.mark.parametrize("detector", ALL, ids=lambda detector: detector.name)


def _touchy(detector: Detector) -> DetectorThresholds:
    """So low that nearly anything is a finding."""
    lowest: dict[str, Any] = {
        limit.name: 1 if isinstance(limit.default, int) else 1e-9
        for limit in fields(detector.thresholds)
        if not isinstance(limit.default, bool)
    }
    return detector.thresholds(**lowest)


TOUCHY = {detector.name: _touchy(detector) for detector in ALL}


def some(numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | numbers


levels = st.sampled_from([0, 1, 10, 2**31 - 1, 2**40])
bounds = st.sampled_from([-1, 0, 1, 10, 4096, 2**31 - 1])
every_limits = st.builds(
    KernelLimits,
    sockstat=some(st.builds(Sockstat, levels, levels, levels, levels)),
    time_wait_limit=some(bounds),
    orphan_limit=some(bounds),
    tcp_memory=some(st.builds(TcpMemoryLimits, levels, levels, levels)),
    conntrack_entries=some(levels),
    conntrack_limit=some(bounds),
    port_range=some(port_ranges),
    time_wait_reuse=some(st.builds(TimeWaitReuse, st.integers(0, 2))),
    settings=some(
        st.builds(
            TcpSettings,
            st.sampled_from([0, 60, 120]),
            st.integers(1, 127),
            st.integers(0, 127),
            st.integers(0, 255),
            levels,
            levels,
            st.integers(0, 2),
        )
    ),
)
rates = st.sampled_from([0.0, 0.2, 1e9])
every_rates = st.just(Rates()) | st.builds(
    Rates,
    st.dictionaries(st.sampled_from(TCP_EVENTS), rates),
    st.dictionaries(st.sampled_from([22, 80, 443, 40000]), rates),
)

dropped = st.lists(
    st.tuples(
        st.sampled_from([NOW - 100, NOW]),
        st.dictionaries(st.sampled_from([22, 443, 40000]), st.integers(1, 9)),
    ),
    max_size=3,
)


@st.composite
def tables(draw: st.DrawFn) -> SocketTable:
    rows = table(draw(socket_lists) * draw(st.sampled_from([1, 1, 1, 12])))
    size = len(rows)

    def column(*values: int, dtype: type[np.generic]) -> Any:
        return np.array(
            draw(st.lists(st.sampled_from(values), min_size=size, max_size=size)), dtype
        )

    return replace(
        rows,
        cookie=np.arange(1, size + 1, dtype=np.uint64),
        retransmits=column(0, 2, 5, 255, dtype=np.uint8),
        inode=column(0, 4711, 4712, 2**32 - 1, dtype=np.uint32),
        cgroup_id=column(0, 77, 2**63, dtype=np.uint64),
    )


@st.composite
def sights(draw: st.DrawFn) -> DetectorInput:
    seen = draw(tables())
    limits = draw(every_limits)
    port_range = limits.port_range or PortRange(32768, 60999)
    by_direction = directions(seen, Listened().seen(seen), port_range)
    began = NOW - draw(st.sampled_from([0.0, 61.0, 100_000.0]))
    aged = NO_AGES.seen(seen, NOTHING_HEARD, began)
    ephemeral = ephemeral_ports(seen, by_direction, port_range, limits.time_wait_reuse)
    heard = LastHeard.of(seen.cookie, seen.expires, seen.expires, seen.expires)
    told = draw(st.sampled_from([NOTHING_HEARD, heard]))
    sight = DetectorInput(
        netns="host",
        now=NOW,
        table=seen,
        directions=by_direction,
        aged=aged.seen(seen, told, NOW),
        queues=NO_QUEUES.seen(seen, NOTHING_HEARD, began).seen(seen, told, NOW),
        stuck=NONE_STUCK.seen(seen, listening_rows(seen), began).seen(
            seen, listening_rows(seen), NOW
        ),
        drop_window=DropWindow(tuple(draw(dropped)), began),
        listen_queues=listen_queues(listeners(seen)),
        ephemeral=ephemeral,
        exhaustion={
            use.destination: draw(st.sampled_from([0.0, 1.0, 599.0])) for use in ephemeral.busiest
        },
        limits=limits,
        rates=draw(every_rates),
    )
    if draw(st.booleans()):
        hostile = Process(1, "\x1b[2J\n\x00\ud800", 1023, 1024)
        units = {77: draw(st.sampled_from([None, "x.service"]))}
        sight = looked_up(sight, {4711: (hostile,), 4712: (hostile, Process(2, "b"))}, units)
    used = Process(7, draw(st.sampled_from(["a", "\x1b[2J"])), 100, draw(st.sampled_from([0, 101])))
    return replace(sight, descriptors=(Descriptors(used, {"\x1b": 3}, seen.inode, 30),))


def remembered(found: tuple[Finding, ...]) -> dict[FindingKey, PreviousFinding]:
    return {
        finding.key: PreviousFinding("critical", tuple((NOW - 5 * n, 3.0 * n) for n in (3, 2, 1)))
        for finding in found
    }


#: Evidence that Chinese engineers call by the kernel's name too.
KERNEL_NAMES = {
    "fin wait2", "low", "somaxconn", "syn linear timeouts", "syn retries", "tcp fin timeout",
    "tcp max syn backlog", "tcp syncookies", "tcp tw reuse",
}  # fmt: skip


def is_well_formed(finding: Finding) -> None:
    assert finding.severity in SEVERITIES
    json.dumps(findings([finding]), allow_nan=False)
    for name, value in finding.evidence.items():
        assert re.fullmatch(r"[a-z0-9_]+", name)
        for quantity in [value] if isinstance(value, Quantity) else [part for _, part in value]:
            assert quantity.unit in UNITS
            assert isinstance(quantity.value, str) == (quantity.unit == "text")
    assert isinstance(finding.subject.port, int | None)
    assert {type(inode) for inode in finding.inodes} <= {int}
    assert 0 not in finding.inodes
    assert isinstance(finding.group, Group | None)
    assert finding.advice or finding.note
    because = [finding.critical_because] if finding.critical_because else []
    until = [finding.deadline.what] if finding.deadline else []
    advice = [each.text for each in finding.advice]
    for said in (finding.summary, *because, *until, *advice, *map(named, finding.evidence)):
        assert isinstance(said, Text)
        assert said.zh.isprintable()
        assert said.zh == said.zh.strip()
        assert re.search("[\u4e00-\u9fff]", said.zh) or said in KERNEL_NAMES, said
    for text in (finding.summary, *texts(finding), *commands(finding)):
        assert text
        assert text.isprintable(), text
        assert "tcp_tw_recycle" not in text
        assert text == text.strip()
        assert "  " not in text
    assert "None" not in finding.summary


@given(sights())
def test_none_raises_and_every_finding_can_be_told(sight: DetectorInput) -> None:
    found = diagnose(sight, TOUCHY)
    assert len({finding.key for finding in found}) == len(found)
    assert diagnose(sight, TOUCHY) == found, "judging changes nothing"
    again = diagnose(replace(sight, past=remembered(found)), TOUCHY)
    for finding in (*found, *again):
        is_well_formed(finding)


@given(sights())
def test_with_the_defaults_too(sight: DetectorInput) -> None:
    for finding in diagnose(sight, thresholds_of(Detect())):
        is_well_formed(finding)


@settings(max_examples=20)
@given(sights())
def test_a_disabled_detector_says_nothing(sight: DetectorInput) -> None:
    assert (
        diagnose(sight, {name: replace(its, enabled=False) for name, its in TOUCHY.items()}) == ()
    )


def without_those_at_rest(sight: DetectorInput) -> DetectorInput:
    rows = np.flatnonzero(~np.isin(sight.table.state, RESTING_STATES))
    return replace(
        sight,
        table=sight.table.select(rows),
        directions=Directions(sight.directions.is_inbound[rows], sight.directions.port[rows]),
        aged=replace(sight.aged, rows=np.searchsorted(rows, sight.aged.rows)),
        queues=NO_QUEUES,
        stuck=replace(sight.stuck, rows=np.searchsorted(rows, sight.stuck.rows)),
        whole=False,
    )


@given(sights())
def test_those_that_judge_a_part_need_no_socket_at_rest(sight: DetectorInput) -> None:
    """Only a queue that nobody empties is not found before the whole table is read again."""
    part = diagnose(without_those_at_rest(sight), TOUCHY, OF_PART)
    whole = diagnose(sight, TOUCHY, OF_PART)

    def others(found: tuple[Finding, ...]) -> list[Finding]:
        # Only the whole table says what most of a process's descriptors are.
        partly = {"accept_queue", "descriptor_pressure"}
        return [finding for finding in found if finding.detector not in partly]

    assert others(part) == others(whole)
    assert {finding.key for finding in part} <= {finding.key for finding in whole}


def test_names_and_alerts_are_unique() -> None:
    assert len({detector.name for detector in ALL}) == len(ALL)
    assert len({detector.alert for detector in ALL}) == len(ALL)


@each_detector
def test_an_alert_is_named_after_its_detector(detector: Detector) -> None:
    camel = "".join(word.capitalize() for word in detector.name.split("_"))
    assert detector.alert == f"Sockmon{camel}"
    assert re.fullmatch(r"[a-z0-9_]+", detector.name)


@each_detector
def test_every_alert_has_its_runbook(detector: Detector) -> None:
    assert (REPOSITORY / "docs" / "runbooks" / f"{detector.alert}.md").is_file()


@each_detector
def test_every_limit_has_a_default(detector: Detector) -> None:
    assert issubclass(detector.thresholds, DetectorThresholds)
    assert detector.thresholds().enabled


def as_yaml_would(detector: Detector, **values: Any) -> DetectorThresholds:
    adapter: TypeAdapter[DetectorThresholds] = TypeAdapter(detector.thresholds)
    return adapter.validate_json(json.dumps(values))


@each_detector
def test_limits_come_from_a_file(detector: Detector) -> None:
    assert as_yaml_would(detector) == detector.thresholds()
    told = as_yaml_would(detector, **{"for": "45s", "keep_firing_for": "2m", "enabled": False})
    assert told == detector.thresholds(for_=45.0, keep_firing_for=120.0, enabled=False)


def own_limits(detector: Detector) -> list[tuple[str, Any, Any, list[Any]]]:
    """Each limit with a value as a file writes it, what that means, and values it must refuse."""
    cases: list[tuple[str, Any, Any, list[Any]]] = []
    for limit in fields(detector.thresholds)[len(fields(DetectorThresholds)) :]:
        is_critical = limit.name.startswith("critical")
        if "ratio" in limit.name:
            ratio = 0.97 if is_critical else 0.2
            cases.append((limit.name, ratio, ratio, [0, 1.1, 80, "0.5", True]))
        elif isinstance(limit.default, float):
            cases.append((limit.name, "90s", 90.0, [90, "-1s", "soon"]))
        else:
            count = 700 if is_critical else 7
            cases.append((limit.name, count, count, [0, -1, 1.5, "7", True]))
    return cases


@each_detector
def test_every_limit_can_be_told_and_has_bounds(detector: Detector) -> None:
    assert own_limits(detector)
    for name, good, meant, bad in own_limits(detector):
        assert getattr(as_yaml_would(detector, **{name: good}), name) == meant
        for wrong in bad:
            with pytest.raises(ValidationError):
                as_yaml_would(detector, **{name: wrong})


@each_detector
def test_a_critical_limit_below_its_warning_is_a_mistake(detector: Detector) -> None:
    names = {limit.name for limit in fields(detector.thresholds)}
    for critical in (name for name in names if name.startswith("critical_")):
        warning = critical.replace("critical_", "warning_")
        if warning in names:
            high, low = (0.9, 0.4) if "ratio" in critical else (30, 20)
            with pytest.raises(ValidationError, match="below the warning"):
                as_yaml_would(detector, **{warning: high, critical: low})


@each_detector
def test_an_unknown_key_is_a_mistake(detector: Detector) -> None:
    with pytest.raises(ValidationError):
        as_yaml_would(detector, for_="45s")
    with pytest.raises(ValidationError):
        as_yaml_would(detector, warning_socks=3)


def test_the_configuration_has_a_table_for_each() -> None:
    limits = thresholds_of(Detect())
    assert list(limits) == [detector.name for detector in ALL]
    assert all(type(limits[detector.name]) is detector.thresholds for detector in ALL)
    told: Any = TypeAdapter(Detect).validate_json('{"dead_peer": {"for": "1m"}}')
    assert thresholds_of(told)["dead_peer"].for_ == 60.0
