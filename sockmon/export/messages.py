"""What sockmon sends as JSON: /api/v1/*, the page's events, `doctor` and `trace --format json`.

docs/api/*.schema.json and the page's types are generated from these declarations
(docs/api/generate.py). Times are Unix seconds by the host's wall clock. None: not known, or there
is none. No message has a key that is not declared here.
"""

from typing import Literal, NotRequired, TypedDict

from sockmon.history.snapshot import Range
from sockmon.model.closes import ConnState, How, OpenedBy, Side, StepKind
from sockmon.model.direction import Direction
from sockmon.model.finding import Effect, Purpose, Severity, Unit, Where
from sockmon.model.states import StateLabel


class Process(TypedDict):
    """Who holds sockets: a process, or a systemd unit or container without a known process."""

    name: str
    pid: int | None
    unit: str | None
    fds: int | None
    """Descriptors in use."""
    fd_limit: int | None


class Subject(TypedDict):
    """What a finding is about; null where the diagnosis has no such part."""

    direction: Direction | None
    port: int | None
    path: str | None
    """Name of a Unix socket, an abstract one as @name; bytes that are not printable are escaped."""
    owner: Process | None


class Does(TypedDict):
    """What an owner does wrong: a clause without its subject."""

    one: str
    """After one name."""
    many: str
    """After several."""


class Actor(TypedDict):
    """Who must act."""

    is_owner: bool
    """The subject's owner, if it is known; else `text` says who."""
    text: str
    does: Does | None
    """What the owner does wrong; null if it is not the owner who must act."""


class Deadline(TypedDict):
    """What fails, and in how many seconds if nothing changes."""

    what: str
    seconds: float


class KeySubject(TypedDict):
    """The subject of another finding; `owner` as in that finding's `alert` labels."""

    direction: Direction | None
    port: int | None
    path: str | None
    owner: str | None


class FindingKey(TypedDict):
    """Names another finding."""

    detector: str
    netns: str
    subject: KeySubject


class Quantity(TypedDict):
    """A value and its unit."""

    value: float | str
    """A string where the unit is `text`; a ratio is 0 to 1."""
    unit: Unit


class Part(Quantity):
    """One of several named quantities."""

    name: str


class Breakdown(TypedDict):
    """Several quantities of one kind, such as sockets by peer, the most important first."""

    parts: list[Part]


class Command(TypedDict):
    """One command line for a shell, complete with what enters its namespace."""

    line: str
    where: Where
    effect: Effect


class Advice(TypedDict):
    """A sentence or two, and the command that does or shows it."""

    purpose: Purpose
    text: str
    command: Command | None


class Chinese(TypedDict):
    """A finding's texts in Chinese; advice in the order of the finding's own."""

    title: str
    does: str | None
    actor: str
    summary: str
    critical_because: str | None
    deadline: str | None
    evidence: dict[str, str]
    """What the keys of the evidence are called."""
    advice: list[str]


class Finding(TypedDict):
    """What is wrong, where, who must act, and what helps."""

    detector: str
    title: str
    severity: Severity
    netns: str
    subject: Subject
    actor: Actor
    state: StateLabel | None
    """The TCP state that the finding is about, if it is one."""
    value: float
    """In the detector's own unit: sockets, or a ratio of 0 to 1."""
    limit: float
    """From which value on it is a warning."""
    summary: str
    critical_because: str | None
    """A clause that explains the severity where the summary does not."""
    deadline: Deadline | None
    cause: FindingKey | None
    """The finding that causes this one; it comes before this one, if it is in the same list."""
    evidence: dict[str, Quantity | Breakdown]
    metrics: list[str]
    """The families on /metrics whose figures it is about."""
    owners: list[Process]
    """The processes that hold the sockets."""
    advice: list[Advice]
    alert: dict[str, str]
    """The labels of the alert that this finding raises, without those that are configured."""
    runbook_url: str
    zh: Chinese


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


AlertState = Literal["pending", "firing", "resolved"]


class Alert(TypedDict):
    """One alert: labels identify it, annotations describe it."""

    state: AlertState
    since: float
    """When the condition was first found."""
    firing_since: float | None
    resolved_at: float | None
    labels: dict[str, str]
    annotations: dict[str, str]


class AlertsAnswer(TypedDict):
    """/api/v1/alerts: those that are pending or firing, or were resolved a while ago."""

    alerts: list[Alert]


class AlertChange(TypedDict):
    """An alert fired, or was resolved."""

    at: float
    state: Literal["firing", "resolved"]
    firing_since: float
    labels: dict[str, str]
    summary: str
    previous_severity: str | None
    """It was firing with this severity until then; the end of that is no change of its own."""


Series = dict[str, list[float | None]]


class Extremes(TypedDict):
    """The highest and the lowest value in each row, by series."""

    max: Series
    min: Series | None
    """null where every row is of one poll."""


class GroupHistory(Extremes):
    """The history of one (direction, port)."""

    direction: Direction
    port: int | None


class History(Extremes):
    """/api/v1/history?netns=NAME&range=hour|day&groups=N&rows=N: a row a poll, a minute, or ten.

    With `rows`, neighbouring rows are made one, until there are no more than that.
    Each series is as long as `times`; history/sample.py names them. null in a series: not known,
    since it could not be read, or nothing was polled, or the port was not watched yet; of a
    forecast: use is not growing.
    """

    netns: str
    range: Range
    step_seconds: float | None
    """What a row stands for, unless polls are farther apart; null: there is no history."""
    taken_at: float
    """The last poll."""
    times: list[float]
    """Of the first poll in each row, oldest first."""
    groups: list[GroupHistory]
    """Largest first."""
    alert_changes: list[AlertChange]
    """Of all namespaces, oldest first."""


class WorstChinese(TypedDict):
    """Its texts in Chinese."""

    title: str
    does: str | None
    deadline: str | None


class Worst(TypedDict):
    """A namespace's first finding."""

    title: str
    owner: str | None
    """Who must act, if it is the owner of the sockets and is known."""
    does: Does | None
    """What that owner does wrong."""
    deadline: Deadline | None
    zh: WorstChinese


class Summary(TypedDict):
    """One namespace in a line."""

    netns: str
    degraded: bool
    beat_seconds: float
    counted_at: float | None
    sockets: int | None
    """TCP, in all states."""
    established: int | None
    close_wait: int | None
    time_wait: int | None
    diagnosed_at: float | None
    warnings: int
    critical: int
    worst: Worst | None
    unseen: int
    """What could not be read, and how many detectors could not judge."""


class PeerSockets(TypedDict):
    """The TCP sockets of one remote address, without listeners."""

    peer: str
    states: dict[StateLabel, int]


class GroupSockets(TypedDict):
    """The TCP sockets of one (direction, port)."""

    direction: Direction
    port: int
    states: dict[StateLabel, int]


class SocketsAnswer(TypedDict):
    """/api/v1/sockets?netns=NAME&direction=D&port=N&owner=NAME&peer=ADDRESS: some sockets.

    Those that have all that is asked for. Each list has the largest first, and is bounded.
    """

    netns: str
    taken_at: float
    one_in: int
    """Above 1: of so many sockets one was looked at, and all figures are estimates."""
    states: dict[StateLabel, int]
    ages: dict[StateLabel, list[int]]
    """By age, in the buckets of `age_bounds_seconds`; of states whose ages are known."""
    peers: list[PeerSockets]
    ports: list[GroupSockets]
    owners: list[OwnerSockets]
    """systemd units and containers, as far as they are known."""


class StaleGroup(TypedDict):
    """CLOSE_WAIT sockets of one group that the application should have closed."""

    direction: Direction
    port: int | Literal["other"]
    """`other` stands for several ports, each with few of them."""
    owner: str
    sockets: int
    unread_bytes: int


class Settings(TypedDict):
    """Settings of the kernel that decide how long a state lasts."""

    fin_timeout: int
    syn_retries: int
    syn_linear_timeouts: int
    synack_retries: int
    max_syn_backlog: int
    somaxconn: int | None
    syncookies: int


class Diagnosed(TypedDict):
    """What is known beside the findings, all null before the first diagnosis."""

    unavailable: list[str] | None
    """Detectors that could not judge."""
    hidden_processes: int | None
    """Processes that could not be inspected, for lack of privilege."""
    ages: dict[StateLabel, list[int]] | None
    """Sockets by age: one number a bucket of `age_bounds_seconds`, and one above all bounds."""
    stale_after_seconds: float | None
    """After so long a CLOSE_WAIT socket is stale (its detector's stale_after)."""
    close_wait_oldest_seconds: float | None
    close_wait_stale: list[StaleGroup] | None


class UdpOwner(TypedDict):
    """How many of a port's UDP sockets a systemd unit or container has."""

    owner: str
    sockets: int


class UdpPort(TypedDict):
    """The UDP sockets of one local port."""

    port: int
    sockets: int
    receive_queue_bytes: int
    drops: int
    """Datagrams that the kernel has dropped since each socket was made."""
    owners: list[UdpOwner]
    """As far as the kernel tells them, most sockets first."""


class UnixQueue(TypedDict):
    """The accept queue of a path's fullest listener."""

    path: str
    queue: int
    """Connections that wait for accept()."""
    limit: int
    """The queue is full when it holds one more than this."""


class Namespace(PolledNamespace, Diagnosed):
    """The namespace that a page shows."""

    settings: Settings | None
    entry: str
    """What runs a command inside it when put before the command; empty for the daemon's own."""
    udp_ports: list[UdpPort]
    """Those that have dropped datagrams first, then the largest; bounded."""
    unix_queues: list[UnixQueue] | None
    """Where a connection has waited in the last ten minutes, the fullest first; bounded."""


class Zone(TypedDict):
    """The time zone of the host."""

    name: str
    offset_seconds: int
    """East of UTC."""


class Everywhere(Poll):
    """What all pages are sent of one poll."""

    host: str
    version: str
    zone: Zone
    age_bounds_seconds: list[float]
    """Upper bounds of the buckets of ages."""
    namespaces: list[Summary]
    """The daemon's own first, then the worst, then the largest."""
    left_out: int
    """Namespaces that the list has no room for."""


class Inside(TypedDict):
    """What a page is sent of the namespace that it shows."""

    failures: list[Failure]
    """Of this namespace."""
    alerts: list[Alert]
    """Of this namespace."""
    alerts_elsewhere: int
    """Those of other namespaces that are pending or firing."""
    namespace: Namespace | None
    """null: there is none of this name."""


class Observation(Everywhere, Inside):
    """Event `observation` of /api/v1/events: at the beginning, and after each poll."""


class Beat(TypedDict):
    """Event `beat` of /api/v1/events: after each `observation`, and every 5 s."""

    age_seconds: float | None
    """How old the last poll is; null before the first."""
    interval_seconds: float


class DoctorFinding(Finding):
    """A finding, and who made it."""

    source: Literal["daemon", "doctor"]


class AskedDaemon(TypedDict):
    """The daemon whose findings are among doctor's."""

    url: str
    watched_seconds: float


class DoctorAnswer(TypedDict):
    """`sockmon doctor --format json`."""

    status: Literal["ok", "warning", "critical", "unknown"]
    taken_at: float
    findings: list[DoctorFinding]
    config: str | None
    """The configuration file that was read; null: the built-in defaults."""
    namespaces: OtherNamespaces | None
    """null: only one namespace was looked into."""
    daemon: AskedDaemon | None
    failures: NotRequired[list[str]]
    """What could not be read; absent where there was nothing."""


class TraceEnd(TypedDict):
    """One end of a connection."""

    address: str
    port: int
    state: StateLabel
    """After the last segment seen; that of another host is inferred."""
    sent_bytes: int
    """Data, by sequence numbers."""
    syns: int
    """How often its SYN, or SYN-ACK, was seen."""
    fins: int
    was_captured: bool
    """Whether any of its segments was seen; else only the other end's ACKs say what it did."""
    owner: str | None
    """Process and unit that hold this end, or its listener; live only."""


class TraceStep(TypedDict):
    """A segment, or all data between two others, and the states of both ends after it."""

    time: float
    sender: Side
    segment: StepKind
    bytes: int
    """Of data."""
    note: Literal["again", "acknowledges"] | None
    """again: sent before; acknowledges: the other end's FIN, for the first time."""
    client_state: StateLabel
    server_state: StateLabel


class TraceConnection(TypedDict):
    """A line of `sockmon trace --format json`: a connection that is over, or what became of it."""

    type: Literal["connection"]
    time: float
    """Of its first segment."""
    client: TraceEnd
    server: TraceEnd
    client_known_by: OpenedBy
    """By its SYN, by the SYN-ACK, because the other end is a server's, or guessed by the ports."""
    how: How
    """closing: the last ACK was not seen; no_answer: to the SYN; no_ack: to the SYN-ACK."""
    first: Side | Literal["both"] | None
    """Who closed first; both: the FINs crossed."""
    segments: int | None
    """Of the close: 3 if the second FIN was the first to acknowledge the first FIN, else 4."""
    late_bytes: int
    """What the second end sent after the first FIN: a half-close in use."""
    lasted_seconds: float
    connect_seconds: float | None
    """From the first SYN to the SYN-ACK."""
    close_delay_seconds: float | None
    """From the first FIN to the second, without the round trip to a remote end."""
    ack_delay_seconds: float | None
    """The same, to an ACK of the first FIN that is no FIN itself."""
    reset_by: Side | None
    last_ack_is_reset_of: Side | None
    """Who answered the last FIN by a reset, or reset after it."""
    receive_queue_bytes: int | None
    """Of the end that has not closed, with the peer's FIN; live only."""
    others_in_close_wait: int
    """Other sockets of the same port in CLOSE_WAIT; live only."""
    conn_state: ConnState
    """Zeek's word."""
    history: str
    """In Zeek's letters."""
    steps: list[TraceStep]


class TraceNotDecoded(TypedDict):
    """Packets that were not decoded."""

    tunnels: int
    fragments: int
    short: int
    """Too little of them was captured."""
    unknown_links: int
    """Of unknown link types."""


class TraceSummary(TypedDict):
    """The last line of `sockmon trace --format json`."""

    type: Literal["end"]
    connections: int
    segments: int
    dropped_packets: int
    """By the kernel, or by the program that captured."""
    repeated_segments: int
    """Copies: seen on a second device, or twice on one."""
    forgotten_connections: int
    """More were open than are followed; the oldest gave way."""
    not_decoded: TraceNotDecoded
