"""Why a connection was reset, in words, the most likely cause first. Pure.

net/ipv4/tcp.c, __tcp_close(): unread bytes or SO_LINGER 0 make a reset with ACK
(tcp_send_active_reset()). net/ipv4/tcp_ipv4.c, tcp_v4_send_reset(): the answer to a segment that
nobody takes has no ACK, if that segment had one. net/ipv4/tcp_timer.c, tcp_keepalive_timer().
"""

from sockmon.durations import precisely
from sockmon.model.segments import is_after
from sockmon.model.states import TcpState
from sockmon.trace.connection import CLIENT, SERVER, Connection
from sockmon.trace.facts import Facts
from sockmon.trace.plural import plural
from sockmon.trace.verdict import SIDES, Verdict

#: tcp_fin_timeout: how long a FIN_WAIT2 lasts that no process holds.
_FIN_TIMEOUT = 60_000_000_000
_FEWEST_PROBES = 2


def reset(connection: Connection, verdict: Verdict, _: Facts) -> list[str]:
    """Return sentences about the reset that ended a connection."""
    me = SIDES.index(verdict.rst_by or "client")
    if connection.rst_states[me] is TcpState.SYN_SENT or _before_established(connection, me):
        return [_early(connection, verdict)]
    sentences = [_cause(connection, verdict, me)]
    if connection.ends[1 - me].fin is None and connection.ends[me].fin is None:
        sentences.append(
            f"No TIME_WAIT at either end; the {SIDES[1 - me]}'s next read fails with ECONNRESET."
        )
    return sentences


def _before_established(connection: Connection, me: int) -> bool:
    """Whether the client reset in answer to the SYN-ACK."""
    return (
        me == CLIENT
        and connection.ends[SERVER].syn_at is not None
        and connection.established_at is None
        and not connection.ends[CLIENT].sent
    )


def _early(connection: Connection, verdict: Verdict) -> str:
    """Explain a reset of the client before the connection was established."""
    if connection.challenged:
        return (
            "The server answered the SYN with an ACK of another connection: it still had one of "
            "the same addresses and ports. This reset ends that; the client's next SYN is answered."
        )
    if connection.ends[SERVER].syn_at is None:
        return "The client reset before the connection was established: its application gave up."
    if verdict.rst_has_ack:
        return (
            "The client reset in place of the handshake's last ACK: a health check or a scan that "
            "only tests the port does so."
        )
    return (
        "The client's kernel reset: no socket waited for this SYN ACK any more. A port scan does "
        "so, or a connect() that was given up."
    )


def _cause(connection: Connection, verdict: Verdict, me: int) -> str:
    it, mine, received = SIDES[me], connection.ends[me], verdict.sent[1 - me]
    if mine.fin is not None:
        return _after_its_fin(connection, verdict, me)
    if not verdict.rst_has_ack:
        return _unwanted(connection, verdict, me)
    if mine.probes >= _FEWEST_PROBES:
        return (
            f"The {it}'s kernel gave up: its last {mine.probes} probes of an idle connection "
            "(keepalive, or TCP_USER_TIMEOUT) had no answer."
        )
    if received:
        return (
            f"The {it} aborted. It had been sent {plural(received, 'byte')}: most likely it closed "
            "with some of them unread; or SO_LINGER 0."
        )
    listener = "" if me == CLIENT else ", or a listener that closed before it accepted"
    return (
        f"The {it} aborted: SO_LINGER 0{listener}. It had been sent nothing that could be left "
        "unread."
    )


def _unwanted(connection: Connection, verdict: Verdict, me: int) -> str:
    """Explain a reset without ACK, of an end that has not closed."""
    full = ""
    if me == SERVER and verdict.sent[SERVER] == 0 and connection.opened_by == "SYN":
        full = ", or its accept queue was full and tcp_abort_on_overflow is 1"
    return (
        f"The {SIDES[me]}'s kernel reset: it got a segment for a socket that was gone (an RST "
        f"without ACK){full}."
    )


def _after_its_fin(connection: Connection, verdict: Verdict, me: int) -> str:
    it, mine = SIDES[me], connection.ends[me]
    if not verdict.rst_has_ack:
        if connection.last_at - mine.fin_at >= _FIN_TIMEOUT:
            return _gone(it)
        return f"The {it} had closed, and then got data that nobody can read: its kernel resets."
    if _sent_after(connection, 1 - me):
        return (
            f"The {it} had closed only its own direction, and then aborted: it closed with bytes "
            "unread, or SO_LINGER 0."
        )
    return f"The {it} sent a FIN, and then aborted: SO_LINGER 0, or it closed with bytes unread."


def late_reset(connection: Connection, verdict: Verdict) -> list[str]:
    """Return sentences about a reset that came in place of the last ACK."""
    me = connection.late_rst_by or CLIENT
    it, mine, other = SIDES[me], connection.ends[me], SIDES[1 - me]
    if it != verdict.first:
        return [f"The {it} reset after its FIN, which the {other} had not acknowledged."]
    if connection.late_bytes:
        why = f"It took none of the {plural(connection.late_bytes, 'byte')} that came after that:"
        return [f"{why} its process had closed, and its kernel reset."]
    if connection.ends[1 - me].fin_at - mine.fin_at >= _FIN_TIMEOUT:
        return [_gone(it)]
    waited = precisely(connection.ends[1 - me].fin_at - mine.fin_at)
    return [f"Its socket was gone when the {other}'s FIN came, {waited} later: its kernel reset."]


def _gone(it: str) -> str:
    return (
        f"The {it}'s socket was gone by then: FIN_WAIT2 ends after tcp_fin_timeout (60 s) if no "
        "process holds it. So its kernel reset."
    )


def _sent_after(connection: Connection, side: int) -> bool:
    """Whether an end sent data after the other one's FIN."""
    now, then = connection.ends[side].next, connection.ends[1 - side].peer_next
    return now is not None and then is not None and is_after(now, then)
