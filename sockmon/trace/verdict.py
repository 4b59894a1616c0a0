"""What became of a connection: who closed first, in three segments or four, or how else. Pure."""

from dataclasses import dataclass
from typing import Literal

from sockmon.model.closes import ConnState, How, Side
from sockmon.trace.connection import CLIENT, SERVER, Connection

SIDES: tuple[Side, Side] = ("client", "server")

#: An end that answers sooner is taken to be where the packets were seen.
NEAR = 1_000_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """Times in nanoseconds; None: not known, or it did not happen.

    how: closing: the last ACK is missing. no_ack: the SYN-ACK got no answer. first: who closed
    first; both: their FINs crossed. segments: those of the close. late_bytes: what the second
    closer sent after the first FIN, a half-close in use. close_delay: from the first FIN to the
    second, as the second closer had it: without the round trip between it and where packets were
    seen. ack_delay: the same, to a segment that acknowledges the FIN and is none itself.
    rst_by, rst_has_ack: the reset. sent: bytes of data of client and server. connect: from the
    first SYN to the SYN-ACK. round_trips: between where packets were seen and each end.
    """

    how: How
    first: Side | Literal["both"] | None
    segments: int | None
    late_bytes: int
    close_delay: int | None
    ack_delay: int | None
    rst_by: Side | None
    rst_has_ack: bool
    sent: tuple[int, int]
    lasted: int
    connect: int | None
    round_trips: tuple[int | None, int | None]
    conn_state: ConnState


def judge(connection: Connection) -> Verdict:
    """Return the verdict on a connection as far as it has been seen."""
    client, server = connection.ends
    round_trips = _round_trips(connection)
    first = segments = close_delay = ack_delay = None
    is_both = False
    order = connection.first_fin_by
    if order is not None:
        first_end, second_end = connection.ends[order], connection.ends[1 - order]
        away = round_trips[1 - order] or 0
        if away < NEAR:
            away = 0
        first = SIDES[order]
        if first_end.acked_alone and first_end.fin_acked_at is not None:
            ack_delay = max(0, first_end.fin_acked_at - first_end.fin_at - away)
        if second_end.fin is not None:
            close_delay = max(0, second_end.fin_at - first_end.fin_at - away)
            is_both = connection.have_crossed
            segments = 4 if is_both or first_end.acked_alone or connection.late_bytes else 3
    connect = None
    if client.syn_at is not None and server.syn_at is not None:
        connect = server.syn_at - client.syn_at
    return Verdict(
        _how(connection),
        "both" if is_both else first,
        segments,
        connection.late_bytes,
        None if is_both else close_delay,
        None if is_both else ack_delay,
        None if connection.rst_by is None else SIDES[connection.rst_by],
        connection.rst_has_ack,
        (client.sent, server.sent),
        max(0, connection.last_at - connection.first_at),
        connect,
        round_trips,
        conn_state(connection),
    )


def _how(connection: Connection) -> How:
    client, server = connection.ends
    if connection.rst_by is not None:
        return "refused" if conn_state(connection) == "REJ" else "reset"
    if client.fin is not None and server.fin is not None:
        return "closing" if connection.awaits_last_ack else "closed"
    if client.fin is not None or server.fin is not None:
        return "half_closed"
    if connection.is_unanswered:
        return "no_answer"
    if connection.is_half_open:
        return "no_ack"
    return "open"


def _round_trips(connection: Connection) -> tuple[int | None, int | None]:
    """Return the time that each end's answer in the handshake took, from where it was seen."""
    client, server = connection.ends
    to_client = to_server = None
    if server.syn_at is not None:
        if client.syns == 1 and client.syn_at is not None:
            to_server = max(0, server.syn_at - client.syn_at)
        if server.syns == 1 and connection.established_at is not None:
            to_client = max(0, connection.established_at - server.syn_at)
    return to_client, to_server


def conn_state(connection: Connection) -> ConnState:
    """Return Zeek's word for it.

    https://docs.zeek.org/en/master/scripts/base/protocols/conn/main.zeek.html
    """
    client, server = connection.ends
    has_begun = client.isn is not None, server.isn is not None
    if connection.rst_by is not None:
        return _reset_state(connection, *has_begun)
    if client.fin is not None and server.fin is not None:
        return "SF"
    if client.fin is not None:
        return "S2" if has_begun[SERVER] or server.next is not None else "SH"
    if server.fin is not None:
        return "S3" if has_begun[CLIENT] or client.next is not None else "SHR"
    if connection.is_unanswered:
        return "S0"
    return "S1" if all(has_begun) else "OTH"


def _reset_state(
    connection: Connection,
    client_began: bool,  # noqa: FBT001 - whether each one's beginning was seen
    server_began: bool,  # noqa: FBT001 - as above
) -> ConnState:
    if connection.rst_by == SERVER:
        if client_began and not server_began:
            return "REJ"
        return "RSTR" if client_began else "RSTRH"
    return "RSTO" if server_began or not client_began else "RSTOS0"
