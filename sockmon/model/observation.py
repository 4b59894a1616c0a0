"""What one poll found out: the one frozen value that everything else renders.

Each part carries the moment of its own last success, so that a part that failed in this poll is
shown as old, never as zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sockmon.model.connection_events import EventCounts, PortEvents
from sockmon.model.counts import PortGroup, StateCounts
from sockmon.model.direction import Direction
from sockmon.model.finding import Finding, Subject
from sockmon.model.limits import KernelLimits
from sockmon.model.listeners import Listening, ListenQueue
from sockmon.model.moment import Moment, T, Timed
from sockmon.model.owner_sockets import OwnerSockets
from sockmon.model.poll_statistics import Failure, PollStatistics
from sockmon.model.ports import EphemeralPorts
from sockmon.model.socket_sample import SocketSample
from sockmon.model.states import TcpState
from sockmon.model.udp import UdpPort
from sockmon.model.unix_listeners import UnixQueue

#: A part older than this many poll intervals is withdrawn rather than believed.
STALE_AFTER_INTERVALS = 3
#: However long a namespace waits for its turn, nothing older than this many seconds is believed,
#: unless poll.interval itself is longer than a minute.
OLDEST_BELIEVED = 180.0


def believed_seconds(interval: float, beat: float) -> float:
    """Return for how many seconds what was read is believed.

    beat: seconds between a namespace's polls, which may be longer than poll.interval. It grows
    while the namespace waits, so the limit must not depend on it alone.
    """
    return max(STALE_AFTER_INTERVALS * interval, min(STALE_AFTER_INTERVALS * beat, OLDEST_BELIEVED))


@dataclass(frozen=True, slots=True)
class Ports:
    """TCP sockets by (direction, port), and what belongs to ports.

    listen_drops: connections dropped at listeners, as far as the kernel remembers; dropped: of
    these, since sockmon began to watch.
    """

    groups: tuple[PortGroup, ...]
    folded: int
    listen_queues: tuple[ListenQueue, ...]
    listen_drops: Mapping[int, int]
    ephemeral: EphemeralPorts
    exhaustion_seconds: float
    listening: tuple[Listening, ...] = ()
    dropped: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StaleGroup:
    """CLOSE_WAIT sockets of one group that the application should have closed.

    port: None stands for several ports, each with few of them.
    """

    direction: Direction
    port: int | None
    owner: str
    sockets: int
    unread_bytes: int


@dataclass(frozen=True, slots=True)
class OwnerDescriptors:
    """File descriptors in use of an owner's process nearest to its limit, and that limit."""

    owner: str
    used: int
    limit: int


@dataclass(frozen=True, slots=True)
class PortSockets:
    """How many sockets of one (direction, port) have something in common; port None: all others."""

    direction: Direction
    port: int | None
    sockets: int


#: What a finding is about, but for its owner: detector, direction, port (None: several, or none).
Place = tuple[str, Direction | None, int | None]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is wrong in a namespace, and the ages behind it.

    stale: largest groups first, bounded; mended: (direction, port, owner) of groups that were
    among them some minutes ago and are no more. oldest_close_wait in seconds, 0 when there is none.
    kept_alive_close_wait: sockets in CLOSE_WAIT with keepalive, whose answers hide their ages.
    notes: what is no trouble, but worth a line in doctor's answer. descriptors: of owners that
    findings name, and of those over half of their limit.
    broken: detectors that have failed in this poll, by a mistake of ours, and why; they are among
    the unavailable. unavailable: detectors that could not judge in this poll. inapplicable: those
    that have nothing to judge in this namespace. skipped: those whose turn it was not, so that what
    they found last holds on, and that they found nothing proves nothing.
    hidden_processes: how many could not be looked into for want of privilege. stale_after: seconds
    after which a CLOSE_WAIT socket is stale. undecided: how many findings wait for the next poll to
    agree; waiting: where they are, and those that wait for their owners' names.
    unix_queues: accept queues of Unix listeners, the fullest first, bounded.
    dropped_datagrams: by local port, None: others. counted: by the metric's name, what
    detectors count by (direction, port); of the last whole read.
    """

    findings: tuple[Finding, ...]
    ages: Mapping[TcpState, tuple[int, ...]]
    stale: tuple[StaleGroup, ...]
    oldest_close_wait: float
    kept_alive_close_wait: int = 0
    notes: tuple[Finding, ...] = ()
    descriptors: tuple[OwnerDescriptors, ...] = ()
    mended: tuple[tuple[Direction, int | None, str], ...] = ()
    hidden_processes: int = 0
    stale_after: float = 60.0
    undecided: int = 0
    waiting: frozenset[Place] = frozenset()
    dropped_datagrams: Mapping[int | None, int] = field(default_factory=dict)
    counted: Mapping[str, tuple[PortSockets, ...]] = field(default_factory=dict)
    unix_queues: tuple[UnixQueue, ...] = ()
    broken: Mapping[str, str] = field(default_factory=dict)
    unavailable: frozenset[str] = frozenset()
    inapplicable: frozenset[str] = frozenset()
    skipped: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ContainerNames:
    """What a container engine calls the container whose namespace it is; "" where it does not.

    pod, namespace: those of Kubernetes. container: "" if that only holds the pod's namespaces.
    """

    pod: str = ""
    namespace: str = ""
    container: str = ""


@dataclass(frozen=True, slots=True)
class NamespaceObservation:
    """One network namespace; a part is None until it has succeeded once.

    tcp, udp: sockets by family (4, 6) and state. A kernel without IPv6 has no family 6.
    owners: TCP sockets by unit or container. sample: what a reader can look into; of the last
    whole read. udp_ports: bounded. udp_groups: UDP sockets by port, as they have series. entry:
    what runs a command inside it when put before the command; empty for the daemon's own.
    looked_at: when it was last polled, well or not; None: in this poll. beat: seconds between its
    polls where they are further apart than the interval. degraded: seen from outside, without
    ages, diagnosis or a port range of its own. folded: without series of its own. names: as its
    container's engine has them, None if that is not known. lists_bound: whether the kernel lists
    TCP sockets that are only bound to a port; if not, none in CLOSE is no knowledge.
    """

    name: str
    tcp: Timed[Mapping[int, StateCounts]] | None = None
    udp: Timed[Mapping[int, StateCounts]] | None = None
    ports: Timed[Ports] | None = None
    udp_groups: Timed[tuple[PortGroup, ...]] | None = None
    owners: Timed[tuple[OwnerSockets, ...]] | None = None
    limits: Timed[KernelLimits] | None = None
    diagnosis: Timed[Diagnosis] | None = None
    looked_at: Moment | None = None
    beat: float = 0.0
    degraded: bool = False
    folded: bool = False
    names: ContainerNames | None = None
    sample: Timed[SocketSample] | None = field(default=None, compare=False, repr=False)
    udp_ports: tuple[UdpPort, ...] = ()
    entry: str = ""
    lists_bound: bool = True


@dataclass(frozen=True, slots=True)
class OtherNamespaces:
    """How many other namespaces there are, by what is seen of them.

    inside: polled; outside: polled, but degraded; empty: without sockets; hidden: not to be seen.
    """

    inside: int = 0
    outside: int = 0
    empty: int = 0
    hidden: int = 0


@dataclass(frozen=True, slots=True)
class Events:
    """How connections opened, failed and closed, since a moment in Unix seconds.

    by_namespace: those of namespaces without series, and what could not be distinguished, are under
    OTHER. in_use: how full the program's memory is, 1 for full. unseen: how many connections ended
    whose opening was not seen. gone: by namespace and direction, of ports that once had their own
    counts; sums over all ports have them, since a sum of counters must never fall.
    """

    since: float
    by_namespace: Mapping[str, tuple[PortEvents, ...]]
    in_use: float
    unseen: int = 0
    gone: Mapping[tuple[str, Direction], EventCounts] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observation:
    """One poll of every namespace, the daemon's own first.

    neighbours: None if only the daemon's own is looked at. unseen: those that are there and could
    not be looked into; None: who is there could not be found out. hints: what would show more.
    events: None where they are not counted.
    """

    at: Moment
    interval: float
    namespaces: tuple[NamespaceObservation, ...]
    failures: tuple[Failure, ...] = ()
    statistics: PollStatistics = field(default_factory=PollStatistics)
    neighbours: OtherNamespaces | None = None
    unseen: frozenset[str] | None = frozenset()
    hints: tuple[str, ...] = ()
    events: Events | None = None

    @property
    def shown(self) -> tuple[NamespaceObservation, ...]:
        """The namespaces that have series of their own."""
        return tuple(namespace for namespace in self.namespaces if not namespace.folded)

    @property
    def folded(self) -> tuple[NamespaceObservation, ...]:
        """The others."""
        return tuple(namespace for namespace in self.namespaces if namespace.folded)

    def diagnosed(self) -> Mapping[str, Diagnosis]:
        """Return by name what this very poll has found out."""
        return {
            namespace.name: namespace.diagnosis.value
            for namespace in self.namespaces
            if namespace.diagnosis is not None and namespace.diagnosis.at == self.at
        }

    def looked(self, diagnosed: Mapping[str, Diagnosis], netns: str, detector: str) -> bool:
        """Whether the poll could tell that a detector has nothing to find (any more)."""
        if netns in diagnosed:
            return detector not in diagnosed[netns].unavailable | diagnosed[netns].skipped
        there = any(namespace.name == netns for namespace in self.namespaces)
        # Else it has ended, and its troubles with it.
        return not there and self.unseen is not None and netns not in self.unseen

    def waits(
        self, diagnosed: Mapping[str, Diagnosis], netns: str, detector: str, subject: Subject
    ) -> bool:
        """Whether something like it was found, and is no finding yet: it proves no end."""
        if netns not in diagnosed:
            return False
        waiting, direction = diagnosed[netns].waiting, subject.direction
        return bool({(detector, direction, subject.port), (detector, direction, None)} & waiting)

    def fresh(self, namespace: NamespaceObservation, part: Timed[T] | None, now: float) -> T | None:
        """Return a namespace's part, or None when it is too old to be believed at `now`."""
        believed = believed_seconds(self.interval, namespace.beat)
        if part is None or now - part.at.monotonic > believed:
            return None
        return part.value
