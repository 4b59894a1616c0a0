"""/metrics of a recorded kernel: whole, true to its sums, silent about peers, and never stale."""

import ipaddress
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from sockmon.detect.registry import ALL
from sockmon.export.families import TCP_TRAFFIC
from sockmon.export.metrics import Build, Reload, families
from sockmon.kernel.netlink.replay import replay
from sockmon.model.ages import AGE_BOUNDS
from sockmon.model.counts import GroupKey, PortGroup
from sockmon.model.finding import SEVERITIES
from sockmon.model.limits import TCP_EVENTS
from sockmon.model.moment import Timed
from sockmon.model.observation import Observation
from sockmon.model.poll_statistics import DURATION_BUCKETS
from sockmon.model.states import TcpState
from sockmon.settings import Config, Ports
from tests.recorded import MIXED, QUIET
from tests.unit import golden
from tests.unit.golden import GOLDEN, NOW, observe, registry, render

INTERVAL = 5.0
STATES: set[str] = {state.label for state in TcpState}
both_recordings = pytest.mark.parametrize("recording", [MIXED, QUIET], ids=lambda path: path.name)

Samples = dict[str, list[tuple[dict[str, str], float]]]


def samples(observation: Observation | None, now: float = NOW.monotonic) -> Samples:
    """Every sample by name, as Prometheus reads it."""
    return by_name(parse_text(render(observation, now)))


def by_name(parsed: Iterable[Metric]) -> Samples:
    found: Samples = {}
    for family in parsed:
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def by_state(those: list[tuple[dict[str, str], float]], **labels: str) -> Counter[str]:
    """Sum the samples with these labels by state."""
    sums: Counter[str] = Counter()
    for its, value in those:
        if labels.items() <= its.items():
            sums[its["state"]] += int(value)
    return +sums


class TestTheWholeOutput:
    def test_is_the_golden_one(self) -> None:
        """When it should change: python -m tests.unit.golden."""
        assert render(observe(MIXED)) == GOLDEN.read_text()

    @both_recordings
    def test_is_openmetrics_too(self, recording: Path) -> None:
        text = openmetrics.generate_latest(registry(observe(recording)))  # type: ignore[no-untyped-call]
        theirs = by_name(parse_openmetrics(text.decode()))  # type: ignore[no-untyped-call]
        assert {n: v for n, v in theirs.items() if not n.endswith("_created")} == samples(
            observe(recording)
        )

    def test_names_units_and_types_as_published(self) -> None:
        published = {
            family.name: family.type
            for family in families(observe(MIXED), NOW.monotonic, golden.BUILD, golden.RELOAD)
        }
        assert all(name.startswith("sockmon_") for name in published)
        counters = {name for name, kind in published.items() if kind == "counter"}
        of_snmp = {family.name for family, _ in TCP_TRAFFIC.values()}
        counters -= of_snmp
        assert counters == {"sockmon_accept_queue_drops", "sockmon_tcp_events", "sockmon_polls"}
        assert of_snmp <= published.keys()
        histograms = {name for name, kind in published.items() if kind == "histogram"}
        assert histograms == {"sockmon_poll_duration_seconds"}

    def test_explains_every_family(self) -> None:
        for family in families(observe(MIXED), NOW.monotonic, golden.BUILD, golden.RELOAD):
            assert family.documentation.endswith(".")

    def test_before_the_first_poll_says_what_is_running(self) -> None:
        assert samples(None) == {
            "sockmon_build_info": [({"version": "1.2.3", "python": "3.14.0"}, 1)],
            "sockmon_config_last_reload_successful": [({}, 1)],
            "sockmon_config_last_reload_success_timestamp_seconds": [({}, 1_700_000_000)],
        }

    def test_what_an_older_kernel_does_not_list_is_no_zero(self) -> None:
        observed = observe(MIXED)
        (host,) = observed.namespaces
        assert host.ports is not None
        ports = host.ports.value
        unlisted = replace(ports, ephemeral=replace(ports.ephemeral, bound=None))
        older = replace(host, lists_bound=False, ports=replace(host.ports, value=unlisted))
        newer, there = samples(observed), samples(replace(observed, namespaces=(older,)))
        assert newer.keys() - there.keys() == {"sockmon_ephemeral_ports_held_by_bind"}
        shown = [labels for labels, _ in there["sockmon_sockets"]]
        lost = [labels for labels, _ in newer["sockmon_sockets"] if labels not in shown]
        assert {(of["protocol"], of["state"]) for of in lost} == {("tcp", "close")}

    def test_tells_a_failed_reload(self) -> None:
        failed = Reload(successful=False, succeeded_at=5.0)
        told = {
            family.name: family.samples[0].value
            for family in families(None, 0.0, Build("1", "3"), failed)
        }
        assert told["sockmon_config_last_reload_successful"] == 0
        assert told["sockmon_config_last_reload_success_timestamp_seconds"] == 5


class TestSockets:
    @both_recordings
    @pytest.mark.parametrize("family", ["ipv4", "ipv6"])
    def test_always_have_all_eleven_states(self, recording: Path, family: str) -> None:
        those = samples(observe(recording))["sockmon_sockets"]
        states = [
            labels["state"]
            for labels, _ in those
            if (labels["protocol"], labels["family"]) == ("tcp", family)
        ]
        assert (len(states), set(states)) == (11, STATES)

    @both_recordings
    def test_of_udp_are_connected_or_not(self, recording: Path) -> None:
        those = samples(observe(recording))["sockmon_sockets"]
        states = [(its["family"], its["state"]) for its, _ in those if its["protocol"] == "udp"]
        assert sorted(states) == [
            (family, state) for family in ("ipv4", "ipv6") for state in ("close", "established")
        ]

    def test_are_as_many_as_the_kernel_listed(self) -> None:
        source = replay(MIXED)
        those = samples(observe(MIXED))["sockmon_sockets"]
        for protocol, table in (
            ("tcp", source.tcp(source.families())),
            ("udp", source.udp(source.families())),
        ):
            for family in (4, 6):
                states = table.state[table.family == family].tolist()
                expected = Counter(TcpState(state).label for state in states)
                assert by_state(those, protocol=protocol, family=f"ipv{family}") == expected

    @both_recordings
    @pytest.mark.parametrize("top", [0, 1, 5, 50, 10_000])
    @pytest.mark.parametrize("always", [(), (443, 10_000), tuple(range(1, 20_000))])
    def test_by_port_sum_to_the_total_in_every_state(
        self, recording: Path, top: int, always: tuple[int, ...]
    ) -> None:
        found = samples(observe(recording, Config(ports=Ports(top, always))))
        for protocol in ("tcp", "udp"):
            total = by_state(found["sockmon_sockets"], protocol=protocol)
            assert by_state(found["sockmon_port_sockets"], protocol=protocol) == total

    def test_by_port_are_folded_beyond_the_top(self) -> None:
        def groups_of(top: int) -> set[tuple[str, str]]:
            its = [labels for labels, _ in of(top)["sockmon_port_sockets"]]
            return {(each["direction"], each["port"]) for each in its if each["protocol"] == "tcp"}

        def of(top: int) -> Samples:
            return samples(observe(MIXED, Config(ports=Ports(top=top))))

        found, groups = of(5), groups_of(5)
        assert len(groups) == 5 + 2
        assert {("inbound", "other"), ("outbound", "other")} <= groups
        folded = len(groups_of(10_000)) - 5
        assert found["sockmon_port_groups_aggregated"] == [({"netns": "host"}, folded)]

    @both_recordings
    def test_have_each_combination_of_labels_once(self, recording: Path) -> None:
        for name, those in samples(observe(recording)).items():
            keys = [tuple(sorted(labels.items())) for labels, _ in those]
            assert len(keys) == len(set(keys)), name


BOUNDS = set(DURATION_BUCKETS)
#: Every label and what it may be; a port has a test of its own.
VOCABULARY: dict[str, set[str]] = {
    "netns": {"host"},
    "protocol": {"tcp", "udp"},
    "family": {"ipv4", "ipv6"},
    "state": STATES,
    "direction": {"inbound", "outbound"},
    "owner": {"other"},
    "scope": {"any", "loopback", "address"},
    "level": {"low", "pressure", "high"},
    "event": set(TCP_EVENTS),
    "detector": {detector.name for detector in ALL},
    "severity": set(SEVERITIES),
    "older_than": {f"{bound:g}" for bound in AGE_BOUNDS},
    "version": {"1.2.3"},
    "python": {"3.14.0"},
}


class TestLabels:
    def test_are_words_of_a_fixed_vocabulary(self) -> None:
        for name, those in samples(observe(MIXED)).items():
            for labels, _ in those:
                for label, value in labels.items():
                    if label == "le":
                        assert value == "+Inf" or float(value) in BOUNDS
                    elif label != "port":
                        assert value in VOCABULARY[label], name

    def test_that_are_ports_are_services_never_a_clients_own(self) -> None:
        source = replay(MIXED)
        table = source.tcp(source.families())
        listened = set(table.local_port[table.state == TcpState.LISTEN].tolist())
        found = samples(observe(MIXED, Config(ports=Ports(top=10_000))))
        ports = {its["port"] for those in found.values() for its, _ in those if "port" in its}
        ports.discard("other")
        # The listener of experiments.rebind has gone; 0 is the peer of those that have none.
        known = listened | {0, *range(7000, 20_000)}
        assert {int(port) for port in ports} <= known
        own = set(table.local_port.tolist()) - known
        assert len(own) > 300
        assert not {int(port) for port in ports} & own

    def test_hold_no_address_cookie_or_inode_of_the_recording(self) -> None:
        source = replay(MIXED)
        text = render(observe(MIXED))
        table = source.tcp(source.families())
        words = {
            str(ipaddress.ip_address(row[: 4 if family == 4 else 16]))
            for family, column in ((4, table.local), (4, table.remote), (6, table.remote))
            for row in map(bytes, column[table.family == family])
        } - {"::", "0.0.0.0"}
        assert {"127.0.0.1", "::1"} < words
        assert [word for word in words if word in text] == []
        secrets = {*table.cookie.tolist(), *table.inode.tolist()} - set(range(65536))
        assert len(secrets) > 500
        labels = [its for those in samples(observe(MIXED)).values() for its, _ in those]
        shown = {value for its in labels for value in its.values()}
        assert not shown & set(map(str, secrets))

    def test_of_other_groups_are_other(self) -> None:
        observation = observe(QUIET)
        (namespace,) = observation.namespaces
        assert namespace.ports is not None
        group = PortGroup(GroupKey("outbound", None), {TcpState.CLOSING: 3}, 7, 8)
        ports = replace(namespace.ports.value, groups=(group,))
        changed = replace(
            observation,
            namespaces=(
                replace(namespace, ports=Timed(ports, namespace.ports.at), udp_groups=None),
            ),
        )
        found = samples(changed)
        labels = {"netns": "host", "protocol": "tcp", "direction": "outbound", "port": "other"}
        assert found["sockmon_port_sockets"] == [({**labels, "state": "closing"}, 3)]
        assert found["sockmon_port_receive_queue_bytes"] == [(labels, 7)]
        assert found["sockmon_port_send_queue_bytes"] == [(labels, 8)]


class TestStaleness:
    POLLING = (
        "sockmon_polls_total",
        "sockmon_poll_duration_seconds_bucket",
        "sockmon_poll_duration_seconds_count",
        "sockmon_poll_duration_seconds_sum",
        "sockmon_poll_last_success_timestamp_seconds",
    )

    def test_nothing_changes_for_three_intervals(self) -> None:
        observation = observe(MIXED)
        assert render(observation, NOW.monotonic + 3 * INTERVAL) == render(observation)

    def test_later_everything_read_from_the_kernel_is_withdrawn(self) -> None:
        found = samples(observe(MIXED), NOW.monotonic + 3 * INTERVAL + 0.1)
        assert found.keys() == {*self.POLLING, *samples(None)}

    @pytest.mark.parametrize(
        ("part", "withdrawn"),
        [
            ("limits", "sockmon_time_wait_buckets"),
            ("ports", "sockmon_accept_queue_connections"),
        ],
    )
    def test_each_part_is_withdrawn_by_itself(self, part: str, withdrawn: str) -> None:
        observation = observe(MIXED)
        (namespace,) = observation.namespaces
        old = replace(NOW, monotonic=NOW.monotonic - 3 * INTERVAL - 0.1)
        older = replace(getattr(namespace, part), at=old)
        changed = replace(observation, namespaces=(replace(namespace, **{part: older}),))
        found = samples(changed)
        assert withdrawn not in found
        assert found["sockmon_sockets"] == samples(observation)["sockmon_sockets"]
        assert len(found) > 10

    @pytest.mark.parametrize(("part", "protocol"), [("tcp", "udp"), ("udp", "tcp")])
    def test_each_protocol_is_withdrawn_by_itself(self, part: str, protocol: str) -> None:
        observation = observe(MIXED)
        (namespace,) = observation.namespaces
        old = replace(NOW, monotonic=NOW.monotonic - 3 * INTERVAL - 0.1)
        older = replace(getattr(namespace, part), at=old)
        changed = replace(observation, namespaces=(replace(namespace, **{part: older}),))
        left = {labels["protocol"] for labels, _ in samples(changed)["sockmon_sockets"]}
        assert left == {protocol}

    @pytest.mark.parametrize(("part", "protocol"), [("ports", "udp"), ("udp_groups", "tcp")])
    def test_so_are_the_ports_of_each(self, part: str, protocol: str) -> None:
        observation = observe(MIXED)
        (namespace,) = observation.namespaces
        without = {
            "ports": replace(namespace, ports=None),
            "udp_groups": replace(namespace, udp_groups=None),
        }
        changed = replace(observation, namespaces=(without[part],))
        left = {labels["protocol"] for labels, _ in samples(changed)["sockmon_port_sockets"]}
        assert left == {protocol}
