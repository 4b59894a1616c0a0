"""How the state of a TCP connection's end changes: RFC 9293, figure 5. Pure."""

from enum import IntEnum

from sockmon.model.states import TcpState


class Event(IntEnum):
    """What an end does, or what happens to it."""

    SEND_SYN = 0
    GET_SYN = 1
    SEND_SYN_ACK = 2
    GET_SYN_ACK = 3
    SYN_ACKED = 4
    SEND_FIN = 5
    GET_FIN = 6
    FIN_ACKED = 7
    SEND_RST = 8
    GET_RST = 9


#: The state that each event leads to (RFC 9293, figure 5). What is not here changes nothing: no
#: other code changes a state, but for a FIN that is found not to have arrived (see connection).
TRANSITIONS: dict[tuple[TcpState, Event], TcpState] = {
    (TcpState.CLOSE, Event.SEND_SYN): TcpState.SYN_SENT,
    (TcpState.CLOSE, Event.SEND_SYN_ACK): TcpState.SYN_RECV,
    (TcpState.SYN_SENT, Event.GET_SYN): TcpState.SYN_RECV,  # simultaneous open
    (TcpState.SYN_SENT, Event.SEND_SYN_ACK): TcpState.SYN_RECV,
    (TcpState.SYN_SENT, Event.GET_SYN_ACK): TcpState.ESTABLISHED,
    (TcpState.SYN_RECV, Event.SYN_ACKED): TcpState.ESTABLISHED,
    (TcpState.SYN_RECV, Event.SEND_FIN): TcpState.FIN_WAIT1,
    (TcpState.SYN_RECV, Event.GET_FIN): TcpState.CLOSE_WAIT,
    (TcpState.ESTABLISHED, Event.SEND_FIN): TcpState.FIN_WAIT1,
    (TcpState.ESTABLISHED, Event.GET_FIN): TcpState.CLOSE_WAIT,
    (TcpState.FIN_WAIT1, Event.FIN_ACKED): TcpState.FIN_WAIT2,
    (TcpState.FIN_WAIT1, Event.GET_FIN): TcpState.CLOSING,
    (TcpState.FIN_WAIT2, Event.GET_FIN): TcpState.TIME_WAIT,
    (TcpState.CLOSING, Event.FIN_ACKED): TcpState.TIME_WAIT,
    (TcpState.CLOSE_WAIT, Event.SEND_FIN): TcpState.LAST_ACK,
    (TcpState.LAST_ACK, Event.FIN_ACKED): TcpState.CLOSE,
    **{
        (state, event): TcpState.CLOSE
        for state in TcpState
        if state is not TcpState.LISTEN
        for event in (Event.SEND_RST, Event.GET_RST)
    },
}

#: The same by event and state: it is looked up for each segment.
NEXT = [
    [
        TRANSITIONS.get((TcpState(n), event), TcpState(n)) if n else TcpState.CLOSE
        for n in range(max(TcpState) + 1)
    ]
    for event in Event
]
