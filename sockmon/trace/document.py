"""A connection and the end of a trace as JSON. Pure."""

from sockmon.export.messages.trace import TraceConnection, TraceEnd
from sockmon.model.segments import host_of, port_of
from sockmon.trace.connection import Connection
from sockmon.trace.facts import Facts
from sockmon.trace.verdict import SIDES, Verdict

_SECOND = 1_000_000_000


def connection_document(connection: Connection, verdict: Verdict, facts: Facts) -> TraceConnection:
    """Return the connection: times in seconds, sizes in bytes, states as everywhere in sockmon."""
    return {
        "type": "connection",
        "time": connection.first_at / _SECOND,
        "client": _end(connection, 0, verdict, facts.client),
        "server": _end(connection, 1, verdict, facts.server),
        "client_known_by": connection.opened_by,
        "how": verdict.how,
        "first": verdict.first,
        "segments": verdict.segments,
        "late_bytes": verdict.late_bytes,
        "lasted_seconds": verdict.lasted / _SECOND,
        "connect_seconds": _seconds(verdict.connect),
        "close_delay_seconds": _seconds(verdict.close_delay),
        "ack_delay_seconds": _seconds(verdict.ack_delay),
        "reset_by": verdict.rst_by,
        "last_ack_is_reset_of": (
            None if connection.late_rst_by is None else SIDES[connection.late_rst_by]
        ),
        "receive_queue_bytes": facts.unread,
        "others_in_close_wait": facts.others,
        "conn_state": verdict.conn_state,
        "history": connection.zeek_history,
        "steps": [
            {
                "time": step.time / _SECOND,
                "sender": SIDES[step.end],
                "segment": step.kind,
                "bytes": step.size,
                "note": step.note or None,
                "client_state": step.states[0].label,
                "server_state": step.states[1].label,
            }
            for step in connection.steps
        ],
    }


def _end(connection: Connection, side: int, verdict: Verdict, owner: str | None) -> TraceEnd:
    name, end = connection.names[side], connection.ends[side]
    return {
        "address": host_of(name),
        "port": port_of(name),
        "state": end.state.label,
        "sent_bytes": verdict.sent[side],
        "syns": end.syns,
        "fins": end.fins,
        "was_captured": end.device is not None,
        "owner": owner,
    }


def _seconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / _SECOND
