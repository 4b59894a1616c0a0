"""What a page of many pods costs: made-up observations, and their series counted."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from sockmon.export.family import SeriesMemory
from sockmon.export.metrics import families
from sockmon.model.counts import GroupKey, PortGroup
from sockmon.model.limits import TCP_EVENTS, KernelLimits, Sockstat
from sockmon.model.listeners import Listening, ListenQueue
from sockmon.model.moment import Moment, Timed
from sockmon.model.observation import Diagnosis, NamespaceObservation, Observation, PortSockets
from sockmon.model.owner_sockets import OwnerSockets
from sockmon.model.states import STATE_SLOTS, TcpState
from tests.unit import golden
from tests.unit.polls import at, poll, ports, saw

PODS = 100
COUNTERS = ("ActiveOpens", "PassiveOpens", "AttemptFails", "EstabResets", "OutSegs", "RetransSegs")
STATES = {TcpState.LISTEN: 1, TcpState.ESTABLISHED: 4, TcpState.TIME_WAIT: 9}

Labels = dict[str, str]


def by_state(counts: dict[TcpState, int]) -> tuple[int, ...]:
    return tuple(counts.get(TcpState(n), 0) if n else 0 for n in range(STATE_SLOTS))


def pod(name: str, moment: Moment) -> NamespaceObservation:
    """One listener, at both families, with connections, names looked up by UDP, and traffic."""
    listening = replace(
        ports([PortGroup(GroupKey("inbound", 8080), STATES, 900, 0)], [ListenQueue(8080, 0, 4096)]),
        listening=(Listening(8080, "any", listens=True),),
    )
    limits = KernelLimits(
        sockstat=Sockstat(5, 9, 0, 0),
        time_wait_limit=16_384,
        conntrack_entries=40,
        conntrack_limit=262_144,
        events=dict.fromkeys(TCP_EVENTS, 0) | {"TW": 9, "TCPAbortOnClose": 1, "TCPTimeouts": 2},
        traffic=dict.fromkeys(COUNTERS, 7),
    )
    owner = OwnerSockets("cri-containerd-4f0c.scope", STATES)
    others = OwnerSockets(None, {TcpState.TIME_WAIT: 9})
    idle = {"sockmon_idle_sockets_without_keepalive": (PortSockets("inbound", 8080, 4),)}
    return replace(
        saw(moment, name=name),
        tcp=Timed({4: by_state({**STATES, TcpState.LISTEN: 0}), 6: by_state(STATES)}, moment),
        udp=Timed({4: by_state({TcpState.ESTABLISHED: 2}), 6: by_state({})}, moment),
        ports=Timed(listening, moment),
        limits=Timed(limits, moment),
        owners=Timed((owner, others), moment),
        diagnosis=Timed(Diagnosis((), {}, (), 0.0, counted=idle), moment),
    )


def page(observation: Observation, memory: SeriesMemory) -> list[tuple[str, Labels]]:
    seconds = observation.at.monotonic
    samples = families(observation, seconds, golden.BUILD, golden.RELOAD, memory)
    found = [(sample.name, sample.labels) for family in samples for sample in family.samples]
    keys = [(name, *sorted(labels.items())) for name, labels in found]
    assert len(set(keys)) == len(keys)
    return found


def of_pods(found: Iterable[tuple[str, Labels]]) -> Counter[str]:
    names = (labels.get("netns", "host") for _, labels in found)
    return Counter(name for name in names if name != "host")


def test_a_hundred_pods_cost_at_most_forty_series_each() -> None:
    moment, memory = at(0), SeriesMemory()
    pods = [pod(f"pod-{number}", moment) for number in range(PODS)]
    found = page(poll(moment, saw(moment), *pods), memory)
    assert of_pods(found).keys() == {each.name for each in pods}
    assert max(of_pods(found).values()) <= 40, Counter(
        name for name, labels in found if labels.get("netns") == "pod-0"
    )


def test_pods_that_are_replaced_leave_no_series() -> None:
    memory = SeriesMemory()
    for hour in range(3):
        moment = at(3600 * hour)
        pods = [pod(f"pod-{hour}-{number}", moment) for number in range(PODS)]
        found = of_pods(page(poll(moment, saw(moment), *pods), memory))
        assert found.keys() == {each.name for each in pods}


def test_a_second_owner_makes_owners_worth_their_series() -> None:
    moment = at(0)
    alone = pod("pod", moment)
    assert alone.owners is not None
    sidecar = OwnerSockets("cri-containerd-77aa.scope", {TcpState.LISTEN: 1})
    shared = replace(alone, owners=Timed((*alone.owners.value, sidecar), moment))

    def owners(namespace: NamespaceObservation) -> set[str]:
        found = page(poll(moment, saw(moment), namespace), SeriesMemory())
        return {labels["owner"] for name, labels in found if name == "sockmon_owner_sockets"}

    assert owners(alone) == set()
    assert owners(shared) == {sidecar.owner, "cri-containerd-4f0c.scope", "other"}


def test_a_level_is_shown_from_a_tenth_of_its_limit_until_ten_minutes_after() -> None:
    memory = SeriesMemory()

    def levels(seconds: float, time_wait: int) -> set[str]:
        moment = at(seconds)
        limits = KernelLimits(sockstat=Sockstat(0, time_wait, 0, 0), time_wait_limit=1000)
        namespace = replace(saw(moment, 1, name="pod"), limits=Timed(limits, moment))
        found = page(poll(moment, saw(moment), namespace), memory)
        return {name for name, labels in found if labels.get("netns") == "pod"} & both

    both = {"sockmon_time_wait_buckets", "sockmon_time_wait_buckets_limit"}
    assert levels(0, 99) == set()
    assert levels(5, 100) == both
    assert levels(600, 3) == both
    assert levels(606, 3) == set()
