"""Makes alerts of findings, has receivers notified of them, and keeps both over a restart.

The polling thread hands over each poll's findings and never waits: each receiver and the state file
have a thread of their own.
"""

import logging
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from sockmon.alert.lifecycle import (
    MOST_CONDITIONS,
    Alert,
    AlertKey,
    Alerts,
    Looked,
    State,
    Waiting,
    Waits,
    admitted,
    everywhere,
    nothing,
    step,
)
from sockmon.alert.notify import receivers
from sockmon.alert.notify.receiver import AlertSnapshot, Reported
from sockmon.alert.notify.sender import Notifications, Sender
from sockmon.alert.records import RecordError, from_record, to_record
from sockmon.alert.settings import Alerting
from sockmon.model.finding import Finding
from sockmon.model.moment import Moment
from sockmon.state.store import StateStore

log = logging.getLogger("sockmon")

#: The section of the state that is the alerts'.
SECTION = "alerts"
#: Two polls must agree before there is a finding, and a rate needs two polls: what the first polls
#: after a restart do not find may still be there.
SETTLING_POLLS = 2
#: How long a message waits for the disk.
_SAVING_SECONDS = 1.0
#: How long a stop waits for messages that are being sent.
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
        state: StateStore,
    ) -> None:
        """Restore the alerts in the state, and start the receivers.

        waits: `for` and `keep_firing_for` by detector.
        """
        #: All alerts, including those resolved recently; replaced as a whole.
        self.alerts: tuple[Alert, ...] = ()
        self._alerts: Alerts = {}
        self._snapshot: AlertSnapshot | None = None
        self._left_out = 0  # findings without an alert, because there are too many
        self._senders: tuple[Sender, ...] = ()
        self._state = state
        reported = self._restore(state.take(SECTION))
        state.give(SECTION, self._section)
        self._settling = SETTLING_POLLS if self._alerts else 0
        self._configure(settings, waits, reported, {})

    def observe(
        self,
        findings: Iterable[Finding],
        now: Moment,
        interval: float,
        *,
        looked: Looked = everywhere,
        waiting: Waiting = nothing,
    ) -> None:
        """Take one poll's findings; the next poll is expected after `interval` seconds.

        looked: which detectors could judge in this poll, and in which namespace. waiting: see
        step().
        """
        findings = list(findings)
        if len(findings) + len(self._alerts) > MOST_CONDITIONS:
            findings, left_out = admitted(self._alerts, findings)
            if left_out and not self._left_out:
                log.warning(
                    "there are %d alerts, the maximum: %d findings have none", len(self._alerts),
                    left_out,
                )  # fmt: skip
            self._left_out = left_out
        after = step(
            self._alerts,
            findings,
            now,
            self._waits,
            self._labels,
            _nowhere if self._settling else looked,
            waiting,
        )
        changed = _states(after) != _states(self._alerts)
        self._settling = max(0, self._settling - 1)
        self._alerts = after
        self.alerts = tuple(after.values())
        self._snapshot = AlertSnapshot(now, interval, self.alerts)
        if changed:
            self._state.save()
        self._post()

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
        """Stop. Alerts, and what was not delivered, stay in the state: close that afterwards."""
        deadline = time.monotonic() + _STOP_SECONDS
        for sender in self._senders:
            sender.stop()
        for sender in self._senders:
            sender.join(max(0.0, deadline - time.monotonic()))

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
                    delivered=self._state.save,
                    saved=partial(self._state.wait, _SAVING_SECONDS),
                    predecessor=before.get(receiver.identity),
                    notifications=counts.get(receiver.name, Notifications()),
                )
            )
        self._senders = tuple(senders)

    def _post(self) -> None:
        if self._snapshot is not None:
            for sender in self._senders:
                sender.post(self._snapshot)

    def _section(self) -> Mapping[str, Any]:
        """Return what is to be kept over a restart; called in the writer's thread."""
        return {
            "alerts": [to_record(alert) for alert in self._alerts.values()],
            "reported": {
                sender.identity: [to_record(alert) for alert in sender.reported.values()]
                for sender in self._senders
            },
        }

    def _restore(self, section: Any | None) -> Mapping[str, Reported]:
        """Restore alerts; return what each receiver was sent. Logs what fails."""
        if section is None:
            return {}
        try:
            alerts = _by_key(section["alerts"])
            reported = {str(name): _by_key(sent) for name, sent in section["reported"].items()}
        except (RecordError, KeyError, TypeError, ValueError, AttributeError) as error:
            why = error if isinstance(error, RecordError) else f"the state is not valid: {error!r}"
            log.warning("alerts cannot be restored, starting without them: %s", why)
            return {}
        self._alerts, self.alerts = alerts, tuple(alerts.values())
        log.info("alerts restored: %d", len(alerts))
        return reported


def _states(alerts: Alerts) -> Mapping[AlertKey, tuple[State, Moment]]:
    return {key: (alert.state, alert.entered) for key, alert in alerts.items()}


def _by_key(records: Iterable[Any]) -> Mapping[AlertKey, Alert]:
    return {alert.key: alert for alert in map(from_record, records)}
