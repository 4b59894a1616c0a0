"""The state of an alert, by what /api/v1/alerts shows. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["absent", "resolved", "pending", "firing"]

_ORDER: tuple[State, ...] = ("absent", "resolved", "pending", "firing")


def alerts_of(document: Any) -> list[Mapping[str, Any]]:
    """Return the alerts in an answer of /api/v1/alerts; raises ValueError if it is another."""
    try:
        alerts = list(document["alerts"])
        for alert in alerts:
            _ORDER.index(alert["state"])
            _ = alert["labels"]["severity"], alert["annotations"]["summary"]
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError("the server there is not a sockmon daemon") from error
    return alerts


@dataclass(frozen=True, slots=True)
class Expected:
    """An alert by its labels, of any severity and owner. None: it has no such label."""

    alertname: str
    direction: str | None
    port: int | None

    def among(self, alerts: Iterable[Mapping[str, Any]]) -> "Seen":
        """Find it; of several severities the one in the latest state of _ORDER."""
        wanted = (self.alertname, self.direction, None if self.port is None else str(self.port))
        found = [
            Seen(
                alert["state"],
                str(alert["labels"]["severity"]),
                str(alert["annotations"]["summary"]),
            )
            for alert in alerts
            if tuple(alert["labels"].get(name) for name in ("alertname", "direction", "port"))
            == wanted
        ]
        return max(found, key=lambda seen: _ORDER.index(seen.state), default=ABSENT)


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found among the alerts."""

    state: State
    severity: str = ""
    summary: str = ""

    @property
    def alive(self) -> bool:
        """Whether it is pending or firing."""
        return self.state in ("pending", "firing")


ABSENT = Seen("absent")
