"""/api/v1/events: what the page is sent."""

from typing import Literal, TypedDict

from sockmon.export.messages.alerts import Alert
from sockmon.export.messages.finding import Deadline, Does
from sockmon.export.messages.observation import Failure, Poll, PolledNamespace
from sockmon.model.direction import Direction
from sockmon.model.states import StateLabel


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
    """What is known in addition to the findings, all null before the first diagnosis."""

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
