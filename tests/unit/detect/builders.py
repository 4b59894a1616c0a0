"""One namespace as detectors see it, built of sockets by the same functions as a poll's."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from sockmon.detect.detector import Detector, DetectorThresholds
from sockmon.detect.registry import ALL, BY_NAME, Detect, diagnose, thresholds_of
from sockmon.model.ages import NO_AGES, NOTHING_HEARD, Aged
from sockmon.model.connection_events import (
    BOUNDS,
    COLUMNS,
    Endings,
    EventCounts,
    RecentEvents,
    column,
)
from sockmon.model.descriptors import Descriptors
from sockmon.model.detector_input import DetectorInput, PreviousFinding, Rates
from sockmon.model.direction import Direction, Listened, directions
from sockmon.model.finding import Finding, Quantity, Severity
from sockmon.model.limits import (
    KernelLimits,
    PortRange,
    Sockstat,
    TcpMemoryLimits,
    TcpSettings,
    TimeWaitReuse,
)
from sockmon.model.listeners import NONE_STUCK, listen_queues, listeners, listening_rows
from sockmon.model.owner import Group, Owners, Process, Unit
from sockmon.model.ports import ephemeral_ports
from sockmon.model.queues import NO_QUEUES
from sockmon.model.states import TcpState
from sockmon.model.table import SocketTable
from sockmon.model.udp import Udp
from tests.unit import strategies

NOW = 10_000.0
CGROUP = 4242
HOUR = 3600.0

SETTINGS = TcpSettings(
    fin_timeout=60,
    syn_retries=6,
    syn_linear_timeouts=4,
    synack_retries=5,
    max_syn_backlog=1024,
    somaxconn=4096,
    syncookies=1,
)
#: What a host with 4 GiB has.
LIMITS = KernelLimits(
    sockstat=Sockstat(in_use=500, time_wait=0, orphans=0, memory_bytes=0),
    time_wait_limit=16_384,
    orphan_limit=16_384,
    tcp_memory=TcpMemoryLimits(low=300_000_000, pressure=400_000_000, high=600_000_000),
    conntrack_entries=0,
    conntrack_limit=65_536,
    port_range=PortRange(32768, 60999),
    time_wait_reuse=TimeWaitReuse(mode=2),
    settings=SETTINGS,
    events={},
)
#: The same in a user namespace, as of a rootless container, before Linux 6.3.
UNSHOWN = replace(LIMITS, settings=replace(SETTINGS, somaxconn=None))
#: The same host, of which nothing could be read.
UNKNOWN = KernelLimits()


@dataclass(frozen=True, slots=True)
class Sock:
    """One socket, and for how long it has been in its state, and silent."""

    state: TcpState = TcpState.ESTABLISHED
    local_port: int = 40000
    remote_port: int = 443
    local: str = "10.0.0.1"
    remote: str = "10.0.0.2"
    family: int = 4
    timer: int = 0
    retransmits: int = 0
    expires: int = 0
    receive_queue: int = 0
    send_queue: int = 0
    inode: int = 900_001
    cgroup_id: int = CGROUP
    drops: int = 0
    age: float = 0.0
    received: float = float("inf")  # seconds since data came in
    has_read: bool = False  # anything, as far as the kernel tells
    silent: float | None = None  # as long as its age unless said otherwise
    multipath: bool = False

    def times(self, count: int, **others: Any) -> list["Sock"]:
        """So many of them, with ports and inodes of their own."""
        accepted = self.local_port < 32768
        step = "remote_port" if accepted else "local_port"
        return [
            replace(self, **{step: getattr(self, step) + n, **others})
            if not self.inode
            else replace(self, **{step: getattr(self, step) + n, "inode": self.inode + n, **others})
            for n in range(count)
        ]


def accepted(state: TcpState, port: int = 443, **others: Any) -> Sock:
    """A socket that a listener of this host accepted."""
    return Sock(state, local_port=port, remote_port=50000, **others)


def listening(port: int = 443, queue: int = 0, limit: int = 128, **others: Any) -> Sock:
    """A listener."""
    return Sock(
        TcpState.LISTEN,
        local_port=port,
        remote_port=0,
        receive_queue=queue,
        send_queue=limit,
        **others,
    )


def table_of(socks: Sequence[Sock]) -> SocketTable:
    """The socks as a poll would have them."""
    rows = strategies.table(
        strategies.Socket(
            state=sock.state,
            family=sock.family,
            local=sock.local,
            local_port=sock.local_port,
            remote=sock.remote,
            remote_port=sock.remote_port,
            timer=sock.timer,
            expires=sock.expires,
            receive_queue=sock.receive_queue,
            send_queue=sock.send_queue,
            drops=sock.drops,
        )
        for sock in socks
    )
    return replace(
        rows,
        retransmits=np.array([sock.retransmits for sock in socks], np.uint8),
        inode=np.array([sock.inode for sock in socks], np.uint32),
        cgroup_id=np.array([sock.cgroup_id for sock in socks], np.uint64),
        multipath=np.array([sock.multipath for sock in socks], np.bool_),
    )


def _aged(table: SocketTable, socks: Sequence[Sock]) -> Aged:
    aged = NO_AGES.seen(table, NOTHING_HEARD, NOW)
    ages = np.array([sock.age for sock in socks])
    silent = np.array([sock.age if sock.silent is None else sock.silent for sock in socks])
    received = np.array([sock.received for sock in socks])
    return replace(
        aged,
        since=NOW - ages[aged.rows],
        sent_at=NOW - silent[aged.rows],
        received_at=NOW - received[aged.rows],
        has_read=np.array([sock.has_read for sock in socks], np.bool_)[aged.rows],
    )


def sight(
    socks: Iterable[Sock] = (),
    limits: KernelLimits = LIMITS,
    *,
    events: Mapping[str, float] | None = None,
    drops: Mapping[int, float] | None = None,
    **others: Any,
) -> DetectorInput:
    """What a poll at NOW would see of these sockets."""
    made = list(socks)
    table = table_of(made)
    port_range = limits.port_range or PortRange(32768, 60999)
    by_direction = directions(table, Listened().seen(table), port_range)
    ephemeral = ephemeral_ports(table, by_direction, port_range, limits.time_wait_reuse)
    left = others.pop("exhaustion_seconds", float("inf"))
    began = NOW - others.pop("waited", 0.0)
    queues = NO_QUEUES.seen(table, NOTHING_HEARD, began).seen(table, NOTHING_HEARD, NOW)
    return DetectorInput(
        netns="host",
        now=NOW,
        table=table,
        directions=by_direction,
        aged=_aged(table, made),
        listen_queues=listen_queues(listeners(table)),
        ephemeral=ephemeral,
        exhaustion={use.destination: left for use in ephemeral.busiest},
        limits=limits,
        queues=queues,
        stuck=NONE_STUCK.seen(table, listening_rows(table), began).seen(
            table, listening_rows(table), NOW
        ),
        rates=Rates(events or {}, drops or {}),
        **others,
    )


def becomes(before: DetectorInput, after: DetectorInput) -> DetectorInput:
    """The second, its queues having been those of the first, with the same cookies, before."""
    queues = before.queues.seen(after.table, NOTHING_HEARD, after.now)
    return replace(after, queues=queues)


SHOP = Process(4711, "shop", fds=10, fd_limit=1024, unit="shop.service")


def owned(before: DetectorInput, *holders: Process) -> DetectorInput:
    """The same, with the holders of all sockets looked up: one process, unless others are given."""
    processes = holders or (SHOP,)
    inodes = {inode: processes for inode in before.table.inode.tolist() if inode}
    units = dict.fromkeys(before.table.cgroup_id.tolist(), processes[0].unit)
    return looked_up(before, inodes, units)


def looked_up(
    before: DetectorInput,
    holders: Mapping[int, tuple[Process, ...]],
    units: Mapping[int, str | None] | None = None,
) -> DetectorInput:
    """The same, with the holders of some sockets, by inode, and the units of some cgroups."""
    named = {i: Unit(unit) if unit else None for i, unit in (units or {}).items()}
    owners = Owners.of(holders, named)
    rows = np.arange(len(before.table), dtype=np.intp)
    return replace(before, owners=owners).with_groups(rows)


def remembering(
    before: DetectorInput, finding: Finding, severity: Severity, *values: float
) -> DetectorInput:
    """The same, the finding having been seen before: one poll every five seconds."""
    samples = tuple((before.now - 5.0 * (len(values) - n), value) for n, value in enumerate(values))
    return replace(
        before,
        past={**before.past, finding.key: PreviousFinding(severity, samples or ((NOW - 5, 1.0),))},
    )


@dataclass(frozen=True, slots=True)
class Judge:
    """One detector with its thresholds."""

    detector: Detector
    thresholds: DetectorThresholds

    def all(self, seen: DetectorInput) -> list[Finding]:
        """Every finding."""
        return list(self.detector.find(seen, self.thresholds))

    def one(self, seen: DetectorInput) -> Finding:
        """The only finding."""
        (finding,) = self.all(seen)
        return finding

    def severity(self, seen: DetectorInput) -> Severity | None:
        """The severity of the only finding, None without one."""
        found = self.all(seen)
        assert len(found) <= 1
        return found[0].severity if found else None


def judge(name: str, **thresholds: Any) -> Judge:
    """The detector of this name, with these thresholds besides its defaults."""
    return Judge(BY_NAME[name], BY_NAME[name].thresholds(**thresholds))


def has_hysteresis(
    judging: Judge,
    of: Callable[[float], DetectorInput],
    warning: tuple[float, float, float],
    critical: tuple[float, float, float],
) -> None:
    """Each triple: a value at the limit, one that keeps what was, one that does not."""
    at, keeps, ends = warning
    finding = judging.one(of(at))
    assert finding.severity == "warning"
    assert judging.severity(of(keeps)) is None
    assert judging.severity(remembering(of(keeps), finding, "warning")) == "warning"
    assert judging.severity(remembering(of(ends), finding, "warning")) is None
    at, keeps, ends = critical
    assert judging.severity(of(at)) == "critical"
    assert judging.severity(of(keeps)) == "warning"
    assert judging.severity(remembering(of(keeps), finding, "critical")) == "critical"
    assert judging.severity(remembering(of(ends), finding, "critical")) == "warning"


def group_of(finding: Finding) -> Group:
    """The group whose processes are worth finding out."""
    assert finding.group is not None
    return finding.group


def texts(finding: Finding) -> list[str]:
    """The sentences of its advice."""
    return [advice.text for advice in finding.advice]


def commands(finding: Finding) -> list[str]:
    """The command lines of its advice, as they stand there."""
    return [advice.command.line for advice in finding.advice if advice.command]


def advises(finding: Finding, text: str) -> bool:
    """Whether some sentence or command of its advice has this text."""
    return any(text in line for line in (*texts(finding), *commands(finding)))


def value(finding: Finding, name: str) -> float | str:
    """The value of one quantity of its evidence."""
    quantity = finding.evidence[name]
    assert isinstance(quantity, Quantity)
    return quantity.value


def facts(finding: Finding) -> dict[str, str | dict[str, str]]:
    """Its evidence as text: "12 sockets", or such texts by name."""
    return {
        name: f"{its.value} {its.unit}"
        if isinstance(its, Quantity)
        else {part: f"{each.value} {each.unit}" for part, each in its}
        for name, its in finding.evidence.items()
    }


def _failing_and_slow() -> RecentEvents:
    """Connects of which half are refused, closes that take a minute, and resets."""
    values = [0] * COLUMNS
    values[column("opened")] = values[column("failed_refused")] = 100
    values[column("close_wait") + 1 + BOUNDS.index(60.0)] = 100
    either: tuple[tuple[Direction, int], ...] = (("inbound", 8080), ("outbound", 5432))
    counts = dict.fromkeys(either, EventCounts(tuple(values)))
    endings = dict.fromkeys(either, Endings(60, 50, 1000, 1))
    return RecentEvents(300.0, counts, frozenset(either), endings)


@cache
def everything_at_once(*, owners: bool = False) -> tuple[Finding, ...]:
    """A finding of every detector, over both families and directions; owners: they are known."""
    others: dict[str, Any] = {"age": 9999.0, "retransmits": 9, "timer": 1, "send_queue": 9}
    v6: dict[str, Any] = {"family": 6, "local": "fd00::1", "remote": "fd00::2"}
    socks = [listening(queue=200)]
    for state in TcpState:
        if state not in (TcpState.LISTEN, TcpState.CLOSE):
            for more in ({}, v6):
                socks += accepted(state, **others, **more).times(200)
                socks += Sock(state, **others, **more).times(200)
    socks += [listening(8085), listening(8086)]
    for more in ({}, v6):
        socks += accepted(TcpState.CLOSE_WAIT, 8087, age=9999.0, **more).times(200)
        socks += Sock(TcpState.CLOSE_WAIT, remote_port=8087, age=9999.0, **more).times(200)
    socks += accepted(TcpState.ESTABLISHED, 8085, receive_queue=21).times(20)
    socks += accepted(TcpState.ESTABLISHED, 8086, send_queue=9, timer=4).times(20)
    limits = replace(
        LIMITS,
        sockstat=Sockstat(9, 16_000, 16_000, 590_000_000),
        conntrack_entries=65_000,
        port_range=PortRange(40000, 40199),
        settings=replace(SETTINGS, syncookies=0),
    )
    deaf = table_of([Sock(TcpState.CLOSE, 514, 0, receive_queue=900, drops=7)])
    udp = Udp().seen(deaf, NOW - 100, 300.0).seen(deaf, NOW, 300.0)
    seen = sight(socks, limits, waited=100.0, udp=udp, udp_table=deaf)
    used = Descriptors(Process(7, "shop", 100, 101), {"TCP sockets": 90}, seen.table.inode, 30)
    seen = replace(seen, descriptors=(used,), events=_failing_and_slow())
    found = diagnose(owned(seen) if owners else seen, thresholds_of(Detect()))
    assert {finding.detector for finding in found} == {detector.name for detector in ALL}
    return found
