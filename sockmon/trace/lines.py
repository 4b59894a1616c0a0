"""A line for each connection. Pure."""

from sockmon.durations import precisely
from sockmon.model.segments import end_text
from sockmon.trace.connection import Connection
from sockmon.trace.verdict import Verdict
from sockmon.trace.when import clock_time

_WIDTHS = (15, 21, 21, 19, 6, 3, 8, 8, 11, 11, 0)
_HEADINGS = (
    "TIME",
    "CLIENT",
    "SERVER",
    "END",
    "FIRST",
    "SEG",
    "LASTED",
    "TO CLOSE",
    "SENT",
    "RECEIVED",
    "HISTORY",
)
_RIGHT = {5, 6, 7, 8, 9}


def heading(*, dated: bool = False) -> str:
    """Return the line above the others."""
    return _row(_HEADINGS, dated=dated)


def line(connection: Connection, verdict: Verdict, *, dated: bool = False) -> str:
    """Return the connection's line; sent and received are the client's."""
    client, server = map(end_text, connection.names)
    how = verdict.how.replace("_", " ")
    if verdict.how == "reset":
        how = f"reset by {verdict.rst_by}"
    delay = "-" if verdict.close_delay is None else precisely(verdict.close_delay)
    sent, received = (f"{size:,} B" for size in verdict.sent)
    cells = (
        clock_time(connection.first_at, dated=dated),
        client,
        server,
        how,
        verdict.first or "-",
        str(verdict.segments or "-"),
        precisely(verdict.lasted),
        delay,
        sent,
        received,
        f"{verdict.conn_state} {connection.zeek_history}",
    )
    return _row(cells, dated=dated)


def _row(cells: tuple[str, ...], *, dated: bool) -> str:
    widths = (_WIDTHS[0] + 11 * dated, *_WIDTHS[1:])
    return "  ".join(
        f"{cell:{'>' if column in _RIGHT else '<'}{width}}"
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ).rstrip()
