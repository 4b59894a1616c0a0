"""A line for each connection. Pure."""

from sockmon.durations import precisely
from sockmon.model.segments import end_text
from sockmon.trace.connection import Connection
from sockmon.trace.verdict import Verdict
from sockmon.trace.when import clock_time

_ROW = "{:<%d}  {:<21}  {:<21}  {:<15}  {:<6}  {:>3}  {:>8}  {:>8}  {:>11}  {:>11}  {}"
_TIME, _DATED_TIME = _ROW % 15, _ROW % 26
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


def heading(*, dated: bool = False) -> str:
    """Return the line above the others."""
    return (_DATED_TIME if dated else _TIME).format(*_HEADINGS)


def line(connection: Connection, verdict: Verdict, *, dated: bool = False) -> str:
    """Return the connection's line; sent and received are the client's."""
    client, server = map(end_text, connection.names)
    how = verdict.how.replace("_", " ")
    if verdict.how == "reset":
        how = f"reset by {verdict.rst_by}"
    delay = "-" if verdict.close_delay is None else precisely(verdict.close_delay)
    sent, received = (f"{size:,} B" for size in verdict.sent)
    return (_DATED_TIME if dated else _TIME).format(
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
