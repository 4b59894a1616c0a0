"""A verdict in words. Pure.

What is said of Linux: net/ipv4/tcp_input.c, tcp_fin() and __tcp_ack_snd_check(): the ACK of a FIN
is delayed by TCP_DELACK_MIN (40 ms) to TCP_DELACK_MAX (200 ms); net/ipv4/tcp.c, __tcp_close().
"""

from sockmon.durations import precisely, roughly
from sockmon.model.segments import is_after
from sockmon.trace.connection import CLIENT, SERVER, Connection
from sockmon.trace.facts import NO_FACTS, Facts
from sockmon.trace.opening_words import no_ack, no_answer, refused, sent_again
from sockmon.trace.plural import plural
from sockmon.trace.reset_words import late_reset, reset
from sockmon.trace.verdict import SIDES, Verdict

_MILLISECOND = 1_000_000
#: An ACK that comes sooner was not delayed by TCP_DELACK_MIN: TCP_QUICKACK was set, or no data had
#: arrived yet (the delay is then one tick of the kernel's clock at most).
_DELAYED = 30 * _MILLISECOND
#: An ACK that comes later was not only delayed.
_TOO_LATE = 300 * _MILLISECOND

_NUMBER = {3: "three segments", 4: "four segments"}


def headline(connection: Connection, verdict: Verdict) -> str:
    """Return what became of the connection, in a few words."""
    lasted = precisely(verdict.lasted)
    if connection.is_with_itself:
        return f"connected to itself, {lasted}"
    client, server = connection.ends
    if verdict.how in {"closed", "closing"}:
        first = "both at once" if verdict.first == "both" else f"{verdict.first} first"
        number = _NUMBER[verdict.segments or 4]
        end = "" if verdict.how == "closed" else ", the last ACK was not seen"
        if connection.late_rst_by is not None:
            end = ", the last one a reset"
        return f"{verdict.how}: {first}, {number}, {lasted}{end}"
    if verdict.how == "half_closed" and connection.unseen is not None:
        return f"closed by the {verdict.first}; the other end's segments were not captured"
    if verdict.how == "half_closed":
        since = client.fin_at if client.fin is not None else server.fin_at
        until = max(connection.last_at, connection.seen_until)
        return f"half closed by the {verdict.first} for {precisely(until - since)}"
    return {
        "reset": f"reset by the {verdict.rst_by} after {lasted}",
        "refused": f"refused by the server after {lasted}",
        "no_answer": f"no answer: {plural(client.syns, 'SYN')} in {lasted}",
        "no_ack": f"not established: {plural(server.syns, 'SYN ACK')} without an ACK in {lasted}",
        "open": f"open, {lasted}",
    }[verdict.how]


def explanation(connection: Connection, verdict: Verdict, facts: Facts = NO_FACTS) -> list[str]:
    """Return sentences: why it ended so, whose turn it is, and what that means."""
    if connection.is_with_itself:
        return [
            (
                "One socket is both ends: connect() to a port of this host on which nobody "
                "listened took the same port as its own."
            )
        ]
    sentences = {
        "closed": _closed,
        "closing": _closed,
        "half_closed": _half_closed,
        "reset": reset,
        "refused": refused,
        "no_answer": no_answer,
        "no_ack": no_ack,
        "open": _open,
    }[verdict.how](connection, verdict, facts)
    sentences += sent_again(connection)
    for side, end in zip(SIDES, connection.ends, strict=True):
        if end.fins > 1:
            sentences.append(
                f"The {side}'s FIN was sent {end.fins} times: it was lost, or its ACK was."
            )
    if connection.opened_by == "listener":
        sentences.append("Its beginning was not seen.")
    if connection.opened_by == "ports":
        sentences.append(
            "Its beginning was not seen: the end with the higher port is taken for the client."
        )
    if connection.unseen is not None:
        sentences.append(
            f"No segment of the {SIDES[connection.unseen]} was captured: only the other end's ACKs "
            "say what it did."
        )
    return sentences


def _closed(connection: Connection, verdict: Verdict, _: Facts) -> list[str]:
    if verdict.first == "both":
        return [
            (
                "Both closed at the same time: neither FIN acknowledges the other. Each end passes "
                "CLOSING and keeps TIME_WAIT for 60 s."
            )
        ]
    first, second = _sides(verdict)
    delay, ack_delay = verdict.close_delay or 0, verdict.ack_delay
    sentences = [f"The {first} closed first, and keeps TIME_WAIT for 60 s."]
    if verdict.how == "closing":
        sentences = [
            (
                f"The {first} closed first. The {second}'s FIN is not acknowledged yet: it stays "
                "in LAST_ACK, and its kernel sends the FIN again."
            )
        ]
    if connection.late_rst_by is not None:
        sentences = [f"The {first} closed first.", *late_reset(connection, verdict)]
    if verdict.late_bytes:
        sentences.append(
            f"A half-close in use: the {second} sent {plural(verdict.late_bytes, 'byte')} after "
            f"the {first}'s FIN, and closed {precisely(delay)} after it. Nothing is wrong."
        )
    elif verdict.segments == 3:
        sentences.append(_three(second, delay))
    elif ack_delay is not None:
        sentences.append(_four(second, delay, ack_delay))
    return sentences


def _three(second: str, delay: int) -> str:
    if delay > _TOO_LATE:
        return (
            f"Three: the {second} closed {precisely(delay)} after the FIN, and no ACK was seen "
            "before. Linux delays an ACK by 200 ms at most: it was lost, or not captured."
        )
    return (
        f"Three: the {second} closed {_after(delay)}, while its ACK was still "
        "held back (delayed ACK), so both went as one segment."
    )


def _four(second: str, delay: int, ack_delay: int) -> str:
    closed = f"Four: the {second}'s application closed {_after(delay)}."
    acknowledged = precisely(ack_delay)
    if ack_delay < _DELAYED:
        return f"{closed} Its kernel had acknowledged the FIN before, after {acknowledged}."
    if ack_delay > _TOO_LATE:
        return (
            f"{closed} The ACK came after {acknowledged}, later than a delayed ACK (200 ms at "
            "most): the FIN or an ACK was lost, or not captured."
        )
    return (
        f"{closed} Its kernel had held the ACK back, so that a FIN could go with it (delayed ACK), "
        f"and then acknowledged by itself, after {acknowledged}."
    )


def _after(delay: int) -> str:
    """Say when the second closer closed; 0: no later than the round trip explains."""
    return f"{precisely(delay)} after the FIN" if delay else "as soon as the FIN had arrived"


def _half_closed(connection: Connection, verdict: Verdict, facts: Facts) -> list[str]:
    first, second = _sides(verdict)
    closer = connection.ends[SIDES.index(first)]
    other = connection.ends[1 - SIDES.index(first)]
    if other.device is None:
        return []
    if closer.fin_acked_at is None:
        return [
            (
                f"The {first} has closed, and its FIN is not acknowledged yet (sent "
                f"{plural(closer.fins, 'time')})."
            )
        ]
    if None not in (other.next, closer.peer_next) and is_after(
        other.next or 0, closer.peer_next or 0
    ):
        return [
            (
                f"The {first} has closed, and the {second} goes on sending: a half-close in use. "
                "Nothing is wrong."
            )
        ]
    holder = (facts.client, facts.server)[SIDES.index(second)]
    unread = "" if facts.unread is None else f" ({_unread(facts.unread)})"
    sentences = [
        f"The {second}'s application has not closed{unread}. {holder or 'It'} must call close()."
    ]
    if facts.others:
        since = f", the oldest for {roughly(facts.oldest)}" if facts.oldest is not None else ""
        sentences.append(
            f"Others of this port in CLOSE_WAIT: {facts.others:,}{since}. See sockmon doctor."
        )
    return sentences


def _unread(queue: int) -> str:
    """Say what a Recv-Q holds; the FIN takes one byte of it."""
    if queue == 0:
        return "Recv-Q 0: it has read to the end of file"
    if queue == 1:
        return "Recv-Q 1: it has not read the end of file"
    return f"Recv-Q {queue}: {plural(queue - 1, 'byte')} and the FIN are unread"


def _open(connection: Connection, _: Verdict, __: Facts) -> list[str]:
    return [
        f"The {side}'s receive window is zero: its application does not read."
        for side, end in zip(SIDES, connection.ends, strict=True)
        if end.window == 0
    ]


def _sides(verdict: Verdict) -> tuple[str, str]:
    """Return who closed first, and the other one."""
    return ("server", "client") if verdict.first == "server" else ("client", "server")


def holders(facts: Facts) -> list[str]:
    """Return a line for each end that a process of this host holds."""
    names = ((SIDES[CLIENT], facts.client), (SIDES[SERVER], facts.server))
    return [f"{side}: {name}" for side, name in names if name]
