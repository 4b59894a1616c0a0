"""One receiver's thread: it keeps only the last snapshot, and tries again until it is delivered.

Posting a snapshot takes no longer than a lock; a receiver that is dead, slow or hostile costs only
its own thread's time.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from sockmon.alert.notify.receiver import (
    AlertSnapshot,
    Batch,
    DeliveryError,
    Receiver,
    RejectedError,
    Reported,
)
from sockmon.contained import COMPONENTS

log = logging.getLogger("sockmon")

#: The first pause after a failure, and the longest.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0

_random = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Notifications:
    """Messages that a receiver was sent, and how many of them failed."""

    total: int = 0
    failed: int = 0


def pause_after(failures: int, jitter: float) -> float:
    """Return how long to wait after so many failures in a row; `jitter` is from 0 to 1.

    It doubles with each failure, with jitter in its upper half, so that many hosts do not retry in
    step.
    """
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 16))
    return longest * (1 + jitter) / 2


class Sender:
    """Delivers snapshots to one receiver."""

    def __init__(
        self,
        receiver: Receiver,
        delivered: Callable[[], None],
        saved: Callable[[], None] = lambda: None,
        predecessor: "Sender | None" = None,
        notifications: Notifications = Notifications(),
    ) -> None:
        """Start.

        delivered: called in the sender's thread when the receiver has been sent something new.
        saved: returns when what is to be sent is on the disk, or is not to be waited for: what was
        sent and not saved would be sent again after a crash, as news.
        predecessor: a stopped sender of the same receiver that may still be sending: this sender's
        thread waits for its end, and takes over what it has reported.
        """
        self.name, self.identity = receiver.name, receiver.identity
        self.notifications = notifications
        self._receiver = receiver
        self._display_name = (
            f"{receiver.name} ({receiver.where})" if receiver.where else receiver.name
        )
        self._delivered = delivered
        self._saved = saved
        self._predecessor = predecessor
        if predecessor is not None:
            receiver.reported = predecessor.reported
        self._changed = threading.Condition()
        self._snapshot: AlertSnapshot | None = None
        self._stopping = False
        self._failures = 0
        self._component = f"notify.{receiver.name}"
        self._bug = False
        self._trouble = ""
        self._thread = threading.Thread(target=self._run, name=receiver.name, daemon=True)
        self._thread.start()

    @property
    def reported(self) -> Reported:
        """The firing alerts that the receiver has been sent."""
        return self._receiver.reported

    def post(self, snapshot: AlertSnapshot) -> None:
        """Replace the previous snapshot by this one."""
        with self._changed:
            self._snapshot = snapshot
            self._changed.notify()

    def stop(self) -> None:
        """Do not begin another message."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def join(self, timeout: float | None) -> None:
        """Wait for the message that is being sent."""
        self._thread.join(timeout)

    def _run(self) -> None:
        if self._predecessor is not None:
            self._predecessor.join(None)
            self._receiver.reported = self._predecessor.reported
            self._predecessor = None
        while (snapshot := self._next()) is not None:
            if self._contained(snapshot):
                self._failures = 0
            else:
                self._failures += 1
                self._pause(snapshot)

    def _next(self) -> AlertSnapshot | None:
        with self._changed:
            self._changed.wait_for(lambda: self._snapshot is not None or self._stopping)
            snapshot, self._snapshot = self._snapshot, None
            return None if self._stopping else snapshot

    def _contained(self, snapshot: AlertSnapshot) -> bool:
        """Deliver; a mistake of ours is counted, and tried again: it must not end the thread."""
        try:
            accepted = self._deliver(snapshot)
        except Exception as error:  # noqa: BLE001 - as it says
            self._broken(error)
            return False
        if not self._bug:
            COMPONENTS.works(self._component)
        return accepted

    def _deliver(self, snapshot: AlertSnapshot) -> bool:
        """Send what is due; return whether all of it was accepted."""
        all_accepted, self._bug = True, False
        for batch in self._receiver.due(snapshot):
            self._saved()
            if self._stopping:
                break
            failure = self._send(batch, snapshot)
            if failure is not None:
                all_accepted = False
                if not isinstance(failure, RejectedError):
                    break
        return all_accepted

    def _send(self, batch: Batch, snapshot: AlertSnapshot) -> DeliveryError | None:
        reported, failure = self.reported, None
        try:
            self._receiver.send(batch, snapshot)
        except DeliveryError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - a bug must not end the thread
            failure = self._broken(error)
        if self.reported is not reported:
            self._delivered()
        before = self.notifications
        self.notifications = Notifications(before.total + 1, before.failed + (failure is not None))
        self._log_change("" if failure is None else str(failure))
        return failure

    def _broken(self, error: Exception) -> DeliveryError:
        """Count a mistake of ours. Its text may hold what we sent, so it is not logged."""
        self._bug = True
        COMPONENTS.count(self._component, type(error).__name__)
        failure = DeliveryError(f"a bug in sockmon ({type(error).__name__})")
        self._log_change(str(failure))
        return failure

    def _log_change(self, trouble: str) -> None:
        """Log when failures begin and end, not every attempt."""
        if trouble and trouble != self._trouble:
            log.warning("cannot notify %s: %s; trying again", self._display_name, trouble)
        if self._trouble and not trouble:
            log.info("notifying %s works again", self._display_name)
        self._trouble = trouble

    def _pause(self, snapshot: AlertSnapshot) -> None:
        """Wait, then deliver the snapshot again, unless there is a newer one."""
        until = time.monotonic() + pause_after(self._failures, _random.random())
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, until - time.monotonic())
            if self._snapshot is None:
                self._snapshot = snapshot
