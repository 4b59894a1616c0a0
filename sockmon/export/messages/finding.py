"""A finding: what is wrong, who must act, and with which commands."""

from typing import TypedDict

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
