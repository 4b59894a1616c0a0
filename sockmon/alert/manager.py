"""Makes alerts of findings, has receivers notified of them, and keeps both over a restart.

The polling thread hands over each poll's findings and never waits: each receiver and the state file
have a thread of their own.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sockmon.alert.lifecycle import Alert, AlertKey, Alerts, Looked, State, Waits, everywhere, step
from sockmon.alert.notify import receivers
from sockmon.alert.notify.receiver import AlertSnapshot, Reported
from sockmon.alert.notify.sender import Notifications, Sender
from sockmon.alert.records import RecordError, from_record, to_record
from sockmon.alert.settings import Alerting
from sockmon.model.finding import Finding
from sockmon.model.moment import Moment
from sockmon.state.file import AnotherBootError, StateError, StateFile
from sockmon.state.writer import StateWriter

log = logging.getLogger("sockmon")

Remember = Callable[[], Mapping[str, Any]]  # called by the thread that writes

#: Two polls must agree before there is a finding, and a rate needs two polls: what the first polls
#: after a restart do not find may still be there.
SETTLING_POLLS = 2
#: The state is written when an alert changes, and otherwise this often, since ages in it grow.
SAVE_SECONDS = 30.0
#: How long a stop waits for messages that are being sent, and for the disk.
_STOP_SECONDS = 0.25


def _nowhere(netns: str, detector: str) -> bool:  # noqa: ARG001 - the signature is Looked's
    return False


class AlertManager:
    """Keeps the alerts.

    `observe` is for one thread; `reconfigure` and, after the last `observe`, `close` for another.
    Everything else may be read from any thread.
    """

    def __init__(
        self,
        settings: Alerting,
        waits: Mapping[str, Waits],
        state_file: StateFile | None,
        now: Moment,
    ) -> None:
        """Restore what the state file holds, and start the receivers.

        waits: `for` and `keep_firing_for` by detector.
        """
        #: All alerts, including those resolved recently; replaced as a whole.
        self.alerts: tuple[Alert, ...] = ()
        #: What an earlier process was given to remember.
        self.remembered: Mapping[str, Any] = {}
        self._remember: Remember = lambda: self.remembered
        self._alerts: Alerts = {}
        self._snapshot: AlertSnapshot | None = None
        self._senders: tuple[Sender, ...] = ()
        self._saved_at = now.monotonic
        reported = self._restore(state_file, now) if state_file else {}
        self._settling = SETTLING_POLLS if self._alerts else 0
        self._writer = StateWriter(state_file) if state_file else None
        self._configure(settings, waits, reported, {})

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

        looked: which detectors could judge in this poll, and in which namespace. remember: returns
        what is in `remembered` after a restart (JSON).
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
        self._snapshot = AlertSnapshot(now, interval, self.alerts)
        self._post()
        if changed or now.monotonic - self._saved_at >= SAVE_SECONDS:
            self._saved_at = now.monotonic
            self._save()

    def reconfigure(self, settings: Alerting, waits: Mapping[str, Waits]) -> None:
        """Use other settings from now on; does not wait."""
        before = {sender.identity: sender for sender in self._senders}
        for sender in before.values():
            sender.stop()
        self._configure(settings, waits, {}, before)
        self._post()

    def notifications(self) -> Mapping[str, Notifications]:
        """Return how many messages each receiver was sent."""
        return {sender.name: sender.notifications for sender in self._senders}

    def close(self) -> None:
        """Stop; undelivered messages, and the alerts themselves, are kept in the state file."""
        deadline = time.monotonic() + _STOP_SECONDS
        for sender in self._senders:
            sender.stop()
        for sender in self._senders:
            sender.join(max(0.0, deadline - time.monotonic()))
        self._save()
        if self._writer is not None:
            self._writer.close(_STOP_SECONDS)

    def _configure(
        self,
        settings: Alerting,
        waits: Mapping[str, Waits],
        reported: Mapping[str, Reported],
        before: Mapping[str, Sender],
    ) -> None:
        self._waits, self._labels = waits, settings.labels
        counts = self.notifications()
        senders = []
        for receiver in receivers(settings):
            receiver.reported = reported.get(receiver.identity, {})
            senders.append(
                Sender(
                    receiver,
                    delivered=self._save,
                    predecessor=before.get(receiver.identity),
                    notifications=counts.get(receiver.name, Notifications()),
                )
            )
        self._senders = tuple(senders)

    def _post(self) -> None:
        if self._snapshot is not None:
            for sender in self._senders:
                sender.post(self._snapshot)

    def _save(self) -> None:
        if self._writer is not None:
            self._writer.write(self._state)

    def _state(self) -> Mapping[str, Any]:
        """Return what is to be kept over a restart; called in the writer's thread."""
        return {
            "at": self._saved_at,
            "alerts": [to_record(alert) for alert in self._alerts.values()],
            "reported": {
                sender.identity: [to_record(alert) for alert in sender.reported.values()]
                for sender in self._senders
            },
            "remembered": self._remember(),
        }

    def _restore(self, file: StateFile, now: Moment) -> Mapping[str, Reported]:
        """Restore alerts and memory; return what each receiver was sent. Logs what fails."""
        try:
            state = file.read()
            if state is None:
                return {}
            alerts, reported, remembered = _revived(state, now)
        except AnotherBootError as error:
            log.info("alerts cannot be restored, starting without them: %s", error)
            return {}
        except (StateError, RecordError) as error:
            log.warning("alerts cannot be restored, starting without them: %s", error)
            return {}
        self._alerts, self.remembered = alerts, remembered
        self.alerts = tuple(alerts.values())
        log.info("alerts restored from %s: %d", file.path, len(alerts))
        return reported


def _revived(
    state: Mapping[str, Any], now: Moment
) -> tuple[Alerts, Mapping[str, Reported], Mapping[str, Any]]:
    """Return alerts, what each receiver was sent, and what was remembered; or RecordError."""
    try:
        if state["at"] > now.monotonic:  # the clock of another time namespace
            raise RecordError("the state is from later than now")
        return (
            _by_key(state["alerts"]),
            {str(name): _by_key(known) for name, known in state["reported"].items()},
            dict(state["remembered"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordError(f"the state is not valid: {error!r}") from error


def _states(alerts: Alerts) -> Mapping[AlertKey, tuple[State, Moment]]:
    return {key: (alert.state, alert.entered) for key, alert in alerts.items()}


def _by_key(records: Iterable[Any]) -> Mapping[AlertKey, Alert]:
    return {alert.key: alert for alert in map(from_record, records)}
