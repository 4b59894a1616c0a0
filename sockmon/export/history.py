"""HistorySnapshot -> what /api/v1/history answers."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sockmon.export.messages import history as messages
from sockmon.history.sample import GROUP_SERIES, SERIES, Reading, Watched
from sockmon.history.snapshot import COARSE, SPANS, Columns, HistorySnapshot, NamespacePast, Range

_NONE = NamespacePast(dict.fromkeys(SPANS, ()), {}, COARSE)

#: From here on float64 does not hold every whole number.
_WHOLE_LIMIT = 2.0**53


def history(
    past: HistorySnapshot, netns: str, span: Range, groups: int, rows: int | None = None
) -> messages.History:
    """Render one range of one namespace, with at most so many groups, and rows.

    One that has no history is one without rows.
    """
    namespace = past.namespaces.get(netns, _NONE)
    columns = namespace.columns(span)
    if rows is not None:
        columns = columns.joined(rows)
    largest = sorted(namespace.watched.items(), key=lambda item: -_sockets_now(namespace, item[1]))
    return {
        "netns": netns,
        "range": span,
        "step_seconds": None if namespace is _NONE else namespace.depth.steps[span],
        "taken_at": past.at.wall,
        "times": (columns.at - past.at.monotonic + past.at.wall).round(3).tolist(),
        **_extremes(columns, slice(len(SERIES)), SERIES),
        "groups": [
            {
                "direction": key.direction,
                "port": key.port,
                **_extremes(columns, watched.columns, GROUP_SERIES, since=watched.since),
            }
            for key, watched in largest[:groups]
        ],
        "alert_changes": [
            {
                "at": change.at,
                "state": change.state,
                "firing_since": change.firing_since,
                "labels": dict(change.labels),
                "summary": change.summary,
                "previous_severity": change.previous_severity,
            }
            for change in past.alert_changes
        ],
    }


def _sockets_now(namespace: NamespacePast, watched: Watched) -> float:
    sockets = float(namespace.rows["hour"][-1].high[watched.columns][0])
    return -1.0 if math.isnan(sockets) else sockets


def _extremes(
    columns: Columns, where: slice, names: Sequence[str], since: float = -math.inf
) -> messages.Extremes:
    """Render the columns that stand there; rows from before `since` were not theirs."""
    known = columns.at >= since

    def named(readings: Reading) -> messages.Series:
        return {
            name: _listed(values, known)
            for name, values in zip(names, readings[:, where].T, strict=True)
        }

    folded = columns.low is not columns.high
    return {"max": named(columns.high), "min": named(columns.low) if folded else None}


def _listed(values: Reading, known: NDArray[np.bool_]) -> list[float | None]:
    """Return the values as JSON has them: whole ones without a point, None for what it has not."""
    has_value = known & np.isfinite(values)
    numbers = np.where(has_value, values, 0).astype(np.float64).round(3)
    is_whole = (numbers == np.rint(numbers)) & (np.abs(numbers) < _WHOLE_LIMIT)
    listed: list[float | None] = (
        numbers.astype(np.int64).tolist() if is_whole.all() else numbers.tolist()
    )
    for row in np.flatnonzero(~has_value).tolist():
        listed[row] = None
    return listed
