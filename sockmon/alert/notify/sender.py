"""One receiver's thread: it keeps the last bulletin alone, and tries again until it is delivered.

Posting a bulletin takes no longer than a lock; a receiver that is dead, slow or hostile costs its
own thread's time and nothing else.
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
    Told,
)

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

    Doubling, and spread over its upper half, so that many hosts do not return in step.
    """
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 16))
    return longest * (1 + jitter) / 2


class Sender:
    """Brings bulletins to one receiver."""

    def __init__(
        self,
        receiver: Receiver,
        delivered: Callable[[], None],
        predecessor: "Sender | None" = None,
        notifications: Notifications = Notifications(),
    ) -> None:
        """Start.

        delivered: called in the courier's thread when the receiver was told news. predecessor:
        one that was stopped, and may still be telling the same receiver something: its end is
        waited for (in this courier's thread), and what it has told is taken over.
        """
        self.name, self.identity = receiver.name, receiver.identity
        self.notifications = notifications
        self._receiver = receiver
        self._called = f"{receiver.name} ({receiver.where})" if receiver.where else receiver.name
        self._delivered = delivered
        self._predecessor = predecessor
        if predecessor is not None:
            receiver.told = predecessor.told
        self._changed = threading.Condition()
        self._bulletin: AlertSnapshot | None = None
        self._stopping = False
        self._failures = 0
        self._trouble = ""
        self._thread = threading.Thread(target=self._run, name=receiver.name, daemon=True)
        self._thread.start()

    @property
    def told(self) -> Told:
        """What the receiver is known to know."""
        return self._receiver.told

    def post(self, bulletin: AlertSnapshot) -> None:
        """Take the newest bulletin in place of the one before."""
        with self._changed:
            self._bulletin = bulletin
            self._changed.notify()

    def stop(self) -> None:
        """Begin no other message."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def join(self, timeout: float | None) -> None:
        """Wait for a message that is on its way."""
        self._thread.join(timeout)

    def _run(self) -> None:
        if self._predecessor is not None:
            self._predecessor.join(None)
            self._receiver.told = self._predecessor.told
            self._predecessor = None
        while (bulletin := self._next()) is not None:
            if self._bring(bulletin):
                self._failures = 0
            else:
                self._failures += 1
                self._pause(bulletin)

    def _next(self) -> AlertSnapshot | None:
        with self._changed:
            self._changed.wait_for(lambda: self._bulletin is not None or self._stopping)
            bulletin, self._bulletin = self._bulletin, None
            return None if self._stopping else bulletin

    def _bring(self, bulletin: AlertSnapshot) -> bool:
        """Send what is due; return whether all of it was taken."""
        all_taken = True
        for batch in self._receiver.due(bulletin):
            if self._stopping:
                break
            failure = self._send(batch, bulletin)
            if failure is not None:
                all_taken = False
                if not isinstance(failure, RejectedError):
                    break
        return all_taken

    def _send(self, batch: Batch, bulletin: AlertSnapshot) -> DeliveryError | None:
        told, failure = self.told, None
        try:
            self._receiver.send(batch, bulletin)
        except DeliveryError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - a mistake of ours must not end the thread
            failure = DeliveryError(f"a mistake of sockmon's own ({type(error).__name__})")
        if self.told is not told:
            self._delivered()
        before = self.notifications
        self.notifications = Notifications(before.total + 1, before.failed + (failure is not None))
        self._log_change("" if failure is None else str(failure))
        return failure

    def _log_change(self, trouble: str) -> None:
        """Log what begins and what ends, not every attempt."""
        if trouble and trouble != self._trouble:
            log.warning("%s was not told: %s; trying again", self._called, trouble)
        if self._trouble and not trouble:
            log.info("%s is told again", self._called)
        self._trouble = trouble

    def _pause(self, bulletin: AlertSnapshot) -> None:
        """Wait, then have the bulletin brought again, if there is none newer."""
        until = time.monotonic() + pause_after(self._failures, _random.random())
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, until - time.monotonic())
            if self._bulletin is None:
                self._bulletin = bulletin
