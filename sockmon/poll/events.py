"""What the counting program has counted: has it loaded by the helper, and reads it at each poll."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from sockmon.kernel.errors import KernelError
from sockmon.kernel.events import layout
from sockmon.kernel.events.helper.client import Asking
from sockmon.kernel.events.helper.protocol import Listener
from sockmon.kernel.events.loader import EventCounter
from sockmon.kernel.events.rows import Increments
from sockmon.kernel.interfaces import EventCounting
from sockmon.model.connection_events import RecentEvents
from sockmon.model.direction import Direction
from sockmon.model.limits import PortRange
from sockmon.model.moment import Moment
from sockmon.model.names import HOST, OTHER
from sockmon.model.observation import Events
from sockmon.model.poll_statistics import Failure
from sockmon.poll.event_totals import EventTotals
from sockmon.poll.event_window import EventWindow

#: After a failure the helper is asked again after such a time, and then after twice that, ...
_AGAIN_SECONDS, _AGAIN_AT_MOST = 0.5, 60.0

_DIRECTIONS: Mapping[int, Direction] = {layout.INBOUND: "inbound", layout.OUTBOUND: "outbound"}
Counted = tuple[str, Direction, int | None, NDArray[np.int64]]


class EventsPoller:
    """The running program, or the attempts to have it loaded. For one thread.

    It never waits: what the helper has not answered yet, it answers at a later poll.
    """

    def __init__(self, helper: str, recorded: EventCounting | None = None) -> None:
        """helper: the socket of `sockmon events-helper`. recorded: read instead of a program."""
        self.helper = helper
        self._recorded = recorded
        self._asking: Asking | None = None
        self._counter: EventCounting | None = None
        self._totals = EventTotals()
        self._window = EventWindow()
        self._since: float | None = None
        self._error: KernelError | None = None
        self._due = 0.0
        self._pause = _AGAIN_SECONDS

    def poll(
        self,
        now: Moment,
        top: int,
        namespaces: Mapping[int, str],
        shown: Collection[str],
        listeners: Callable[[], Iterable[Listener]],
        port_range: Callable[[str], PortRange | None],
    ) -> Events | None:
        """Read what was counted; None as long as nothing is.

        namespaces: names, as in the label netns, by inode: of those that are judged. shown: names
        of those that have series; all others are OTHER. listeners: returns what the program starts
        with. port_range: of a namespace.
        """
        try:
            if self._counter is None:
                self._load(now, listeners)
            if self._counter is not None:
                increments = self._counter.read(now.monotonic)
                counted = tuple(by_name(increments, namespaces))
                self._window.follow(namespaces.values(), now.monotonic)
                self._window.add(counted, now.monotonic)
                with_series = (
                    (netns if netns in shown else OTHER, direction, port, columns)
                    for netns, direction, port, columns in counted
                )
                self._totals.add(with_series, now.monotonic, top, port_range)
                self._totals.forget(shown)
                self._error, self._pause = None, _AGAIN_SECONDS
        except KernelError as error:
            self._error = error
            self._due = now.monotonic + self._pause
            self._pause = min(2 * self._pause, _AGAIN_AT_MOST)
            self._release()
        if self._counter is None or self._since is None:
            return None
        totals = self._totals
        return Events(
            self._since,
            totals.by_namespace(),
            self._counter.in_use / layout.ROWS,
            totals.unseen,
            totals.gone(),
        )

    def recent(self, netns: str, now: float) -> RecentEvents | None:
        """Return what was counted in a namespace in the last minutes; None: nothing is, there."""
        return None if self._counter is None else self._window.recent(netns, now)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Why nothing is counted, if that is so."""
        if self._error is None:
            return ()
        return (Failure(HOST, self._error.reason, f"counting events: {self._error}"),)

    def close(self) -> None:
        """Release the program: nothing of it is left in the kernel."""
        self._release()

    def _load(self, now: Moment, listeners: Callable[[], Iterable[Listener]]) -> None:
        """Ask the helper, or take its answer; raises KernelError."""
        if self._recorded is not None:
            self._begin(self._recorded, now)
            return
        if self._asking is None:
            if now.monotonic < self._due:
                return
            self._asking = Asking(self.helper, listeners(), now.monotonic)
        descriptors = self._asking.answer(now.monotonic)
        if descriptors is not None:
            self._asking = None
            self._begin(EventCounter(descriptors), now)

    def _begin(self, counter: EventCounting, now: Moment) -> None:
        self._counter = counter
        self._totals, self._since = EventTotals(), now.wall
        self._window = EventWindow()

    def _release(self) -> None:
        if self._asking is not None:
            self._asking.close()
            self._asking = None
        if self._counter is not None:
            self._counter.close()
            self._counter = None


def by_name(increments: Increments, namespaces: Mapping[int, str]) -> Iterator[Counted]:
    """Yield what was counted, with the namespaces' names; OTHER for those that are not known."""
    rows = zip(
        increments.netns.tolist(),
        increments.direction.tolist(),
        increments.port.tolist(),
        increments.columns,
        strict=True,
    )
    for netns, direction, port, columns in rows:
        name = namespaces.get(netns, OTHER)
        # Port 0: what no row was free for, or a socket whose remote end was wiped.
        yield name, _DIRECTIONS.get(direction, "outbound"), port or None, columns
