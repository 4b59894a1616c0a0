"""Findings in, alerts out, people told, and none of it lost by a restart.

The polling thread hands over each poll's findings and never waits: receivers and the state file
have threads of their own.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sockmon.alert.lifecycle import Alert, AlertKey, Alerts, Looked, State, Waits, everywhere, step
from sockmon.alert.notify import receivers
from sockmon.alert.notify.receiver import AlertSnapshot, Told
from sockmon.alert.notify.sender import Notifications, Sender
from sockmon.alert.records import RecordError, from_record, to_record
from sockmon.alert.settings import Alerting
from sockmon.model.finding import Finding
from sockmon.model.moment import Moment
from sockmon.state.file import AnotherBootError, StateError, StateFile
from sockmon.state.writer import StateWriter

log = logging.getLogger("sockmon")

Remember = Callable[[], Mapping[str, Any]]  # called by the thread that writes

#: Two polls must agree before there are findings, and rates need two polls first: what the first
#: polls after a restart do not find is not gone for that.
SETTLING_POLLS = 2
#: The state is written when an alert changes, and otherwise this often, for what ages in it.
SAVE_SECONDS = 30.0
#: How long a stop waits for messages on their way, and for the disk.
_STOP_SECONDS = 0.25


def _nowhere(netns: str, detector: str) -> bool:  # noqa: ARG001 - the signature is Looked's
    return False


class AlertManager:
    """Keeps the alerts.

    `observe` is for one thread; `reconfigure` and, after the last `observe`, `close` for another.
    All else may be looked at from anywhere.
    """

    def __init__(
        self,
        settings: Alerting,
        waits: Mapping[str, Waits],
        state_file: StateFile | None,
        now: Moment,
    ) -> None:
        """Take up what the state file says, and start the receivers.

        waits: `for` and `keep_firing_for` by detector.
        """
        #: All alerts, the resolved ones of late included; replaced as a whole.
        self.alerts: tuple[Alert, ...] = ()
        #: What survived of what an earlier process was given to remember.
        self.remembered: Mapping[str, Any] = {}
        self._remember: Remember = lambda: self.remembered
        self._alerts: Alerts = {}
        self._bulletin: AlertSnapshot | None = None
        self._couriers: tuple[Sender, ...] = ()
        self._saved_at = now.monotonic
        told = self._restore(state_file, now) if state_file else {}
        self._settling = SETTLING_POLLS if self._alerts else 0
        self._writer = StateWriter(state_file) if state_file else None
        self._configure(settings, waits, told, {})

    def observe(
        self,
        findings: Iterable[Finding],
        now: Moment,
        interval: float,
        *,
        looked: Looked = everywhere,
        remember: Remember = dict,
    ) -> None:
        """Take one poll's findings; the next poll is expected after `interval` seconds.

        looked: which detectors this poll gave something to judge by, and where. remember: given
        back as `remembered` after a restart (JSON).
        """
        after = step(
            self._alerts,
            findings,
            now,
            self._waits,
            self._labels,
            _nowhere if self._settling else looked,
        )
        changed = _states(after) != _states(self._alerts)
        self._settling = max(0, self._settling - 1)
        self._alerts = after
        self.alerts = tuple(after.values())
        self._remember = remember
        self._bulletin = AlertSnapshot(now, interval, self.alerts)
        self._post()
        if changed or now.monotonic - self._saved_at >= SAVE_SECONDS:
            self._saved_at = now.monotonic
            self._save()

    def reconfigure(self, settings: Alerting, waits: Mapping[str, Waits]) -> None:
        """Go by other settings from now on; waits for nobody."""
        before = {courier.identity: courier for courier in self._couriers}
        for courier in before.values():
            courier.stop()
        self._configure(settings, waits, {}, before)
        self._post()

    def notifications(self) -> Mapping[str, Notifications]:
        """Return by receiver what it was sent."""
        return {courier.name: courier.notifications for courier in self._couriers}

    def close(self) -> None:
        """Stop; what was not delivered, and the alerts themselves, live on in the state file."""
        deadline = time.monotonic() + _STOP_SECONDS
        for courier in self._couriers:
            courier.stop()
        for courier in self._couriers:
            courier.join(max(0.0, deadline - time.monotonic()))
        self._save()
        if self._writer is not None:
            self._writer.close(_STOP_SECONDS)

    def _configure(
        self,
        settings: Alerting,
        waits: Mapping[str, Waits],
        told: Mapping[str, Told],
        before: Mapping[str, Sender],
    ) -> None:
        self._waits, self._labels = waits, settings.labels
        counts = self.notifications()
        couriers = []
        for receiver in receivers(settings):
            receiver.told = told.get(receiver.identity, {})
            couriers.append(
                Sender(
                    receiver,
                    delivered=self._save,
                    predecessor=before.get(receiver.identity),
                    notifications=counts.get(receiver.name, Notifications()),
                )
            )
        self._couriers = tuple(couriers)

    def _post(self) -> None:
        if self._bulletin is not None:
            for courier in self._couriers:
                courier.post(self._bulletin)

    def _save(self) -> None:
        if self._writer is not None:
            self._writer.write(self._state)

    def _state(self) -> Mapping[str, Any]:
        """Return what is to survive; called in the writer's thread."""
        told = {courier.identity: courier.told for courier in self._couriers}
        return {
            "at": self._saved_at,
            "alerts": [to_record(alert) for alert in self._alerts.values()],
            "told": {name: [to_record(a) for a in known.values()] for name, known in told.items()},
            "remembered": self._remember(),
        }

    def _restore(self, file: StateFile, now: Moment) -> Mapping[str, Told]:
        """Take up alerts and memory; return what each receiver knows. Costs a warning at most."""
        try:
            state = file.read()
            if state is None:
                return {}
            alerts, told, remembered = _revived(state, now)
        except AnotherBootError as error:
            log.info("alerts cannot be restored and begin anew: %s", error)
            return {}
        except (StateError, RecordError) as error:
            log.warning("alerts cannot be restored and begin anew: %s", error)
            return {}
        self._alerts, self.remembered = alerts, remembered
        self.alerts = tuple(alerts.values())
        log.info("alerts restored from %s: %d", file.path, len(alerts))
        return told


def _revived(
    state: Mapping[str, Any], now: Moment
) -> tuple[Alerts, Mapping[str, Told], Mapping[str, Any]]:
    """Return alerts, what each receiver was told, and what was remembered; or RecordError."""
    try:
        if state["at"] > now.monotonic:  # another time namespace's clock
            raise RecordError("the state is of a later time than now")
        return (
            _by_key(state["alerts"]),
            {str(name): _by_key(known) for name, known in state["told"].items()},
            dict(state["remembered"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordError(f"the state makes no sense: {error!r}") from error


def _states(alerts: Alerts) -> Mapping[AlertKey, tuple[State, Moment]]:
    return {key: (alert.state, alert.entered) for key, alert in alerts.items()}


def _by_key(records: Iterable[Any]) -> Mapping[AlertKey, Alert]:
    return {alert.key: alert for alert in map(from_record, records)}
