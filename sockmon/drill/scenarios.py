"""The drills: what each makes, what that costs, and which alert it must raise, if any."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from sockmon.detect.syn_retries import seconds_to_connect
from sockmon.drill.lab import conditions
from sockmon.drill.lab.addresses import Direction
from sockmon.drill.lab.held_sockets import Held
from sockmon.drill.lab.netns import NetNs
from sockmon.drill.lab.veth_link import linked
from sockmon.drill.timing import seconds_until_retransmits
from sockmon.model.connection_events import (
    BOUNDS,
    BUCKET_SECONDS,
    BURST_SECONDS,
    WINDOW_SECONDS,
)
from sockmon.model.limits import KernelLimits
from sockmon.model.ports import TIME_WAIT_MS

_OVERFLOW = 3  # clients beyond a full queue: too few for a finding about stalled connects
_FIRST_SYN_SECONDS = 1.0  # TCP_TIMEOUT_INIT
_FIRST_RETRANSMIT_SECONDS = 0.2  # TCP_RTO_MIN, on a path with a short round trip
#: After so many seconds, how a port's connections ended is no part of a burst, but what is usual.
_USUAL_SECONDS = BURST_SECONDS + 2 * BUCKET_SECONDS
_RETRIES_SECONDS = 900.0  # tcp_retries2 = 15, the default of a new namespace, takes 924 s


@dataclass(frozen=True, slots=True)
class Trouble:
    """How many sockets a detector needs to find a condition, and after how many seconds.

    lasts: seconds until the kernel ends the condition by itself. why_none: why no number is enough.
    """

    needed: int
    onset: float
    lasts: float = math.inf
    why_none: str | None = None


class Maker(Protocol):
    """Makes so many sockets in a namespace; they last as long as the context."""

    def __call__(self, netns: NetNs, /, *, count: int) -> AbstractContextManager[Held]:
        """Return the context."""
        ...


def _no_settings(_: int) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class Scenario:
    """One drill.

    does: in words, with `{count}`. direction: the alert's, with the service's port, or None.
    quiet: its detector must not raise its alert. also: detectors whose alerts fire with it.
    costs: what one of the count needs, by `safety_limits.Resource.cost`.
    judge: from the detector's thresholds and the kernel's limits.
    lingers: seconds for which the kernel keeps the sockets after they are closed.
    counts: its daemon counts connections inside the kernel (`events.enabled`). remembers: seconds
    for which the detector goes by what was counted before the sockets were closed.
    usual: no fewer are made unless --count says so. settings: sysctls of its own namespace for a
    count; set before its daemon starts, which does not read them again for a while.
    """

    does: str
    detector: str
    direction: Direction | None
    costs: Mapping[str, int]
    judge: Callable[[Any, KernelLimits], Trouble]
    make: Maker
    own_namespace: bool = False
    quiet: bool = False
    also: tuple[str, ...] = ()
    lingers: float = 0.0
    counts: bool = False
    remembers: float = 0.0
    usual: int = 1
    settings: Callable[[int], Mapping[str, str]] = _no_settings


_PAIR = {"descriptors": 2, "ports": 1}
_CALLER = {"descriptors": 1, "ports": 1}


def _stale(limits: Any, _: KernelLimits) -> Trouble:
    return Trouble(limits.warning_sockets, limits.stale_after)


def _stuck(limits: Any, kernel: KernelLimits) -> Trouble:
    assert kernel.settings is not None
    return Trouble(limits.warning_sockets, kernel.settings.fin_timeout)


def _crowded(limits: Any, kernel: KernelLimits) -> Trouble:
    assert kernel.sockstat is not None
    buckets = kernel.time_wait_limit
    if buckets is None or buckets < 0:  # the kernel takes -1 for 4 billion
        buckets = 2**32
    needed = math.ceil(limits.warning_ratio * buckets) - kernel.sockstat.time_wait
    return Trouble(max(1, needed), 0.0, TIME_WAIT_MS / 1000)


def _unanswered(limits: Any, kernel: KernelLimits) -> Trouble:
    assert kernel.settings is not None
    linear, retries = kernel.settings.syn_linear_timeouts, kernel.settings.syn_retries
    tries = limits.unanswered_retransmits
    onset = seconds_until_retransmits(tries, _FIRST_SYN_SECONDS, linear)
    return Trouble(limits.warning_sockets, onset, seconds_to_connect(retries, linear))


def _at_once(_limits: Any, _kernel: KernelLimits) -> Trouble:
    return Trouble(1, 0.0)


def _silent(limits: Any, _: KernelLimits) -> Trouble:
    tries = limits.unanswered_retransmits
    onset = seconds_until_retransmits(tries, _FIRST_RETRANSMIT_SECONDS)
    return Trouble(limits.warning_sockets, onset, _RETRIES_SECONDS)


def _stalled(limits: Any, _: KernelLimits) -> Trouble:
    return Trouble(limits.warning_sockets, limits.stalled_after, _RETRIES_SECONDS)


def _refused(limits: Any, _: KernelLimits) -> Trouble:
    return Trouble(limits.least_failures, 0.0)


def _slow(limits: Any, _: KernelLimits) -> Trouble:
    takes = conditions.SLOW_SECONDS
    why_none = None
    if limits.slow_after > max(bound for bound in BOUNDS if bound < takes):
        why_none = f"each takes {takes:g} s to close, and slow_after is {limits.slow_after:g} s"
    return Trouble(limits.least_closes, takes, why_none=why_none)


def _reset(limits: Any, _: KernelLimits) -> Trouble:
    return Trouble(limits.least_resets, _USUAL_SECONDS)


def _syn_sent(netns: NetNs, *, count: int) -> AbstractContextManager[Held]:
    return conditions.full_queue(netns, backlog=1, overflow=count)


def _accept_queue(netns: NetNs, *, count: int) -> AbstractContextManager[Held]:
    return conditions.full_queue(netns, backlog=count - 1, overflow=_OVERFLOW)


@contextmanager
def _dead_peer(netns: NetNs, *, count: int) -> Iterator[Held]:
    with linked(netns) as link, conditions.vanished_peers(link, count=count) as held:
        yield held


@contextmanager
def _last_ack(netns: NetNs, *, count: int) -> Iterator[Held]:
    with linked(netns) as link, conditions.last_ack(link, count=count, orphaned=False) as held:
        yield held


def _resets(netns: NetNs, *, count: int) -> AbstractContextManager[Held]:
    return conditions.begins_to_abort(netns, count=count, after=_USUAL_SECONDS)


def _few_ports(count: int) -> Mapping[str, str]:
    return {"net.ipv4.ip_local_port_range": conditions.port_range(count)}


SCENARIOS: Mapping[str, Scenario] = {
    "close-wait": Scenario(
        does="{count} clients send 21 bytes and close; the server never reads nor closes",
        detector="close_wait_leak",
        direction=Direction.INBOUND,
        costs={**_PAIR, "buckets": 1, "orphans": 1},  # the clients' ends, in FIN_WAIT2
        judge=_stale,
        make=conditions.unclosed,
    ),
    "half-close": Scenario(
        does="{count} clients shut down their sending side and read a long answer: no leak",
        detector="close_wait_leak",
        direction=Direction.INBOUND,
        costs=_PAIR,
        judge=_stale,
        make=conditions.half_close,
        quiet=True,
    ),
    "fin-wait2": Scenario(
        does="{count} clients shut down their sending side and wait; the server never closes",
        detector="fin_wait2_stuck",
        direction=Direction.OUTBOUND,
        costs=_PAIR,
        judge=_stuck,
        make=conditions.fin_wait2,
    ),
    "time-wait": Scenario(
        does="{count} connections are closed in good order, first by the client",
        detector="time_wait_pressure",
        direction=None,
        costs={"ports": 1, "buckets": 1},
        judge=_crowded,
        make=conditions.time_wait,
        lingers=TIME_WAIT_MS / 1000,
    ),
    "syn-sent": Scenario(
        does="{count} clients call a server whose accept queue is full: it does not answer",
        detector="connect_stalled",
        direction=Direction.OUTBOUND,
        costs=_CALLER,
        judge=_unanswered,
        make=_syn_sent,
        also=("accept_queue",),
    ),
    "accept-queue": Scenario(
        does="{count} clients fill the queue of a server that never accepts; more find no room",
        detector="accept_queue",
        direction=Direction.INBOUND,
        costs={**_CALLER, "backlog": 1},
        judge=_at_once,
        make=_accept_queue,
        usual=5,
    ),
    "port-exhaustion": Scenario(
        does="{count} connections take all {count} ephemeral ports there are",
        detector="ephemeral_port_pressure",
        direction=Direction.OUTBOUND,
        costs=_PAIR,
        judge=_at_once,
        make=conditions.ports_exhausted,
        own_namespace=True,
        usual=50,
        settings=_few_ports,
    ),
    "dead-peer": Scenario(
        does="{count} clients' host dies, and the server still sends to them",
        detector="dead_peer",
        direction=Direction.INBOUND,
        costs=_PAIR,
        judge=_silent,
        make=_dead_peer,
        own_namespace=True,
    ),
    "last-ack": Scenario(
        does="{count} clients close, and the path dies before the server's own FIN gets through",
        detector="closing_stalled",
        direction=Direction.INBOUND,
        costs=_PAIR,
        judge=_stalled,
        make=_last_ack,
        own_namespace=True,
    ),
    "connect-failures": Scenario(
        does="{count} connects to a port that nobody listens on, and 20 more each second",
        detector="connect_failures",
        direction=Direction.OUTBOUND,
        costs=_CALLER,
        judge=_refused,
        make=conditions.refused_connects,
        own_namespace=True,
        counts=True,
        remembers=BUCKET_SECONDS,
    ),
    "slow-close": Scenario(
        does="{count} clients close, and the server closes 6 s later",
        detector="slow_close",
        direction=Direction.INBOUND,
        costs={**_PAIR, "buckets": 1},
        judge=_slow,
        make=conditions.late_close,
        own_namespace=True,
        counts=True,
        remembers=WINDOW_SECONDS,
    ),
    "resets": Scenario(
        does="{count} connections are closed; later the server aborts {count}, then 20 a second",
        detector="reset_burst",
        direction=Direction.INBOUND,
        costs={**_PAIR, "buckets": 1},
        judge=_reset,
        make=_resets,
        own_namespace=True,
        counts=True,
        remembers=BURST_SECONDS + BUCKET_SECONDS,
        usual=30,
    ),
}
