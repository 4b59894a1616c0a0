"""What `sockmon doctor --format json` prints."""

from typing import Literal, NotRequired, TypedDict

from sockmon.export.messages.finding import Finding
from sockmon.export.messages.observation import OtherNamespaces


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
