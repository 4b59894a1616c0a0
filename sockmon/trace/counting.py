"""Segments in, a summary out: what is plain is judged many at a time, the rest followed. Pure."""

from itertools import compress

import numpy as np

from sockmon.model.segments import Segments
from sockmon.trace.bulk import Sorted, judged, sort
from sockmon.trace.connection import Connection
from sockmon.trace.summary import Summary
from sockmon.trace.tracker import Tracker, pair

#: So long, in nanoseconds, segments are held back until their connection is over; and so many.
_HELD = 300_000_000
_MOST_HELD = 100_000


class Counting:
    """Gives the tracker only those connections that last, or are not plain."""

    def __init__(self, tracker: Tracker, summary: Summary) -> None:
        self._tracker = tracker
        self._summary = summary
        self._held: Segments | None = None

    def take(self, segments: Segments) -> list[Connection]:
        """Take in segments in the order seen; return the connections that the tracker ended."""
        if self._held is not None:
            segments = self._held.and_then(segments)
            self._held = None
        if not len(segments):
            return []
        found = sort(segments)
        clients, servers = found.ends()
        keys = list(map(pair, clients, servers))
        followed = np.array(self._tracker.are_followed(keys), np.bool_)
        plain, verdicts = judged(found, ~followed)
        self._summary.add_many(verdicts)
        self._tracker.have_counted(compress(keys, plain), compress(servers, plain))
        held = ~plain & ~followed & self._may_end(found)
        rows = found.rows(held)
        if len(rows) <= _MOST_HELD:
            self._held = segments.take(rows)
        else:
            held[:] = False
        return self._tracker.take(segments.take(found.rows(~plain & ~held)))

    def finish(self) -> list[Connection]:
        """Give the tracker what was held back."""
        held, self._held = self._held, None
        return [] if held is None else self._tracker.take(held)

    @staticmethod
    def _may_end(found: Sorted) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Return which connections have just begun, and may soon be over."""
        time = found.segments.time
        begun = time[found.order[found.starts]] > time[-1] - _HELD
        is_young: np.ndarray[tuple[int], np.dtype[np.bool_]] = begun & found.is_unfinished()
        return is_young
