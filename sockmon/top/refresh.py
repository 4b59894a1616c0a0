"""Looking again and again, in a thread of its own: no look holds up a key."""

import math
import threading
import time
from collections.abc import Callable

from sockmon.client.snapshot import FetchError
from sockmon.top.kernel_source import Source
from sockmon.top.scene import SHORTEST_INTERVAL, By, Sighting

#: However busy the source, looks leave a pause.
_SHORTEST_PAUSE_SECONDS = 0.1

News = Sighting | FetchError | BaseException


class Feed:
    """Delivers what every look brings, from its own thread: a mistake of ours too."""

    def __init__(
        self, source: Source, interval: float | None, deliver: Callable[[News], object]
    ) -> None:
        """Look every `interval` seconds; None: as often as the source has something new."""
        self._source, self._asked, self._deliver = source, interval, deliver
        self._by: By = "port"
        self._wanted = threading.Event()
        self._stopping = threading.Event()
        # A daemon's answer may be long in coming, and nobody who quits should wait for it.
        self._thread = threading.Thread(target=self._run, name="look", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def group_by(self, by: By) -> None:
        """Group by something else from now on, and look at once."""
        if by != self._by:
            self._by = by
            self._wanted.set()

    def every(self, seconds: float) -> None:
        """Look every so many seconds from now on."""
        self._asked = seconds
        self._source.every(seconds)
        self._wanted.set()

    def stop(self) -> None:
        """Deliver nothing any more."""
        self._stopping.set()
        self._wanted.set()
        self._source.stop()

    def _run(self) -> None:
        try:
            self._look_until_stopped()
        except BaseException as error:  # noqa: BLE001 - without looks the view would be a still
            self._tell(error)
        finally:
            self._source.close()

    def _look_until_stopped(self) -> None:
        own = SHORTEST_INTERVAL
        longest = SHORTEST_INTERVAL  # two polls must agree: the second comes soon
        while not self._stopping.is_set():
            begun = time.monotonic()
            self._wanted.clear()
            try:
                sighting = self._source.look(self._by)
            except FetchError as error:
                self._tell(error)
            else:
                self._tell(sighting)
                own = max(SHORTEST_INTERVAL, sighting.snapshot.interval)
                if sighting.undecided:
                    longest = SHORTEST_INTERVAL  # and so does the third
            pause = min(longest, self._asked or own)
            self._wanted.wait(max(_SHORTEST_PAUSE_SECONDS, begun + pause - time.monotonic()))
            longest = math.inf

    def _tell(self, news: News) -> None:
        if not self._stopping.is_set():
            self._deliver(news)
