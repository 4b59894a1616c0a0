"""/api/v1/history: what was counted at each poll."""

from typing import TypedDict

from sockmon.export.messages.alerts import AlertChange
from sockmon.history.snapshot import Range
from sockmon.model.direction import Direction

Series = dict[str, list[float | None]]


class Extremes(TypedDict):
    """The highest and the lowest value in each row, by series."""

    max: Series
    min: Series | None
    """null where every row is of one poll."""


class GroupHistory(Extremes):
    """The history of one (direction, port)."""

    direction: Direction
    port: int | None


class History(Extremes):
    """/api/v1/history?netns=NAME&range=hour|day&groups=N&rows=N: a row a poll, a minute, or ten.

    With `rows`, neighbouring rows are made one, until there are no more than that.
    Each series is as long as `times`; history/sample.py names them. null in a series: not known,
    since it could not be read, or nothing was polled, or the port was not watched yet; of a
    forecast: use is not growing.
    """

    netns: str
    range: Range
    step_seconds: float | None
    """What a row stands for, unless polls are farther apart; null: there is no history."""
    taken_at: float
    """The last poll."""
    times: list[float]
    """Of the first poll in each row, oldest first."""
    groups: list[GroupHistory]
    """Largest first."""
    alert_changes: list[AlertChange]
    """Of all namespaces, oldest first."""
