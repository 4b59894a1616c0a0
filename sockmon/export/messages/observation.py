"""/api/v1/observation: the last poll of the host, or of one namespace."""

from typing import Literal, NotRequired, TypedDict

from sockmon.export.messages.finding import Finding
from sockmon.model.direction import Direction
from sockmon.model.states import StateLabel


class Failure(TypedDict):
    """Something that could not be read in this poll."""

    netns: str
    reason: str
    message: str


class OtherNamespaces(TypedDict):
    """How many network namespaces there are besides the daemon's own, by what is seen of them."""

    inside: int
    """Polled."""
    outside: int
    """Polled from outside: counted, not diagnosed."""
    empty: int
    """Without sockets."""
    hidden: int
    """Not visible to the daemon."""


class Group(TypedDict):
    """The TCP sockets of one (direction, port)."""

    direction: Direction
    port: int | Literal["other"]
    """The port served here (inbound) or on the remote host (outbound)."""
    states: dict[StateLabel, int]
    """Without states that the group has not had lately."""
    receive_queue_bytes: int
    send_queue_bytes: int


class Listener(TypedDict):
    """A listening port's accept queue; of several listeners, the fullest one's."""

    port: int
    queue: int
    """Connections that wait for accept()."""
    limit: int
    """The queue is full when it holds one more than this."""
    drops: int
    """Connections that the kernel dropped at the port's listeners."""


class Destination(TypedDict):
    """The local ports that are in use towards one remote address and port."""

    source: str
    destination: str
    port: int
    used: int
    states: dict[StateLabel, int]


class EphemeralPorts(TypedDict):
    """Local ports that connect() can choose from."""

    usable: int
    reserved: int
    bound: int | None
    """Held by bind(): lost for every destination; null: this kernel does not list those."""
    exhaustion_seconds: float | None
    """Forecast until a destination has no port left; null: use is not growing."""
    busiest: list[Destination]


class Ports(TypedDict):
    """What belongs to ports."""

    taken_at: float
    groups: list[Group]
    """Largest first."""
    folded: int
    """Groups that are inside port `other`."""
    listeners: list[Listener]
    ephemeral: EphemeralPorts


class TcpMemoryLimit(TypedDict):
    """tcp_mem, in bytes."""

    low: int
    pressure: int
    high: int


class Limits(TypedDict):
    """Levels and their limits. Orphans and TCP memory are those of the whole host."""

    taken_at: float
    time_wait_buckets: int | None
    time_wait_buckets_limit: int | None
    orphan_sockets: int | None
    orphan_sockets_limit: int | None
    tcp_memory_bytes: int | None
    tcp_memory_limit_bytes: TcpMemoryLimit | None
    conntrack_entries: int | None
    conntrack_entries_limit: int | None
    port_range: tuple[int, int] | None
    """ip_local_port_range."""
    tcp_events: dict[str, int] | None
    """The kernel's TcpExt counters, by their own names (/proc/net/netstat)."""
    tcp_traffic: dict[str, int] | None
    """Counters of the section Tcp, by their own names (/proc/net/snmp)."""


class Families(TypedDict):
    """Sockets by address family and state; a kernel without IPv6 has no `ipv6`."""

    taken_at: float
    ipv4: NotRequired[dict[StateLabel, int]]
    ipv6: NotRequired[dict[StateLabel, int]]


class OwnerSockets(TypedDict):
    """The TCP sockets of one systemd unit or container by state: none is 0."""

    owner: str
    """`other` stands for all others, and for sockets that the kernel tells no cgroup of."""
    states: dict[StateLabel, int]


class Owners(TypedDict):
    """Those with most sockets first."""

    taken_at: float
    owners: list[OwnerSockets]


class ContainerNames(TypedDict):
    """What an engine calls the container whose namespace it is; empty where it does not."""

    pod: str
    namespace: str
    container: str


class Histogram(TypedDict):
    """Durations in seconds."""

    bounds: list[float]
    """Upper bounds of the buckets; there is one more bucket, without bound."""
    counts: list[int]
    """Not cumulative."""
    sum: float


class PortEvents(TypedDict):
    """What happened to the connections of one port; the same as on /metrics."""

    direction: Direction
    port: int | None
    """null: all others of this direction."""
    opened: int
    failed: dict[str, int]
    """By reason; those that there were."""
    closed: dict[str, int]
    """By whose FIN came first: here, there, both."""
    aborted: dict[str, int]
    """By whom: here, there, timeout."""
    connect_seconds: Histogram | None
    close_wait_seconds: Histogram | None
    """From the other end's FIN until the application closed."""
    lifetime_seconds: Histogram | None


class ConnectionEvents(TypedDict):
    """Connections that opened, failed and closed, those that no poll has seen included."""

    since: float
    ports: list[PortEvents]


class PolledNamespace(TypedDict):
    """One network namespace; a part is null until it has been read once."""

    netns: str
    names: ContainerNames | None
    degraded: bool
    """Seen from outside: without ages, diagnosis or a port range of its own."""
    looked_at: float
    """When it was last polled, whether that succeeded or not."""
    beat_seconds: float
    """Seconds between its polls."""
    tcp: Families | None
    udp: Families | None
    ports: Ports | None
    owners: Owners | None
    limits: Limits | None
    diagnosed_at: float | None
    findings: list[Finding] | None
    """Worst first; a cause stands before its symptoms."""
    connection_events: ConnectionEvents | None
    """null: they are not counted."""


class Poll(TypedDict):
    """What a poll has one of, however many namespaces there are."""

    taken_at: float
    interval_seconds: float
    polls: int
    """Since the daemon started."""
    hints: list[str]
    """What would show more of the host."""
    neighbours: OtherNamespaces | None
    """null: only the daemon's own namespace is polled."""


class ObservationAnswer(Poll):
    """/api/v1/observation: the last poll, or with `?netns=NAME` one namespace of it."""

    failures: list[Failure]
    namespaces: list[PolledNamespace]
    """The daemon's own first."""
