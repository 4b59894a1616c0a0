"""Packets that are seen more than once: on bridges, on loopback, on mirror ports. Pure."""

from sockmon.model.segments import ACK, FIN, NUMBERS, RST, SYN, Segment, is_after
from sockmon.model.states import TcpState
from sockmon.trace.end import End

#: A SYN or FIN that is seen again sooner is a copy: no stack sends it again so soon.
_COPY = 1_000_000


def is_new(segment: Segment, mine: End, yours: End) -> bool:
    """Return whether a segment says what is not known yet, so that it is no copy."""
    flags = segment.flags
    if flags & SYN:
        return mine.isn != segment.seq or mine.has_answered != bool(flags & ACK)
    if flags & RST or (flags & FIN and mine.fin is None):
        return True
    upto = (segment.seq + segment.payload) & NUMBERS
    if segment.payload and (mine.next is None or is_after(upto, mine.next)):
        return True
    return bool(flags & ACK) and _acknowledges_more(segment.ack, yours)


def _acknowledges_more(number: int, yours: End) -> bool:
    if yours.fin is not None:
        return yours.fin_acked_at is None and number == (yours.fin + 1) & NUMBERS
    return yours.state is TcpState.SYN_RECV or yours.next is None or is_after(number, yours.next)


def is_copy(segment: Segment, mine: End) -> bool:
    """Return whether a SYN or FIN was just seen on the same device."""
    if segment.flags & SYN:
        is_same = mine.isn == segment.seq and mine.has_answered == bool(segment.flags & ACK)
        return is_same and 0 <= segment.time - mine.last_syn_at < _COPY
    is_same = mine.fin == (segment.seq + segment.payload) & NUMBERS
    return is_same and 0 <= segment.time - mine.last_fin_at < _COPY
