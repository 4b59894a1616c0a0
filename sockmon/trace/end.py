"""One end of a TCP connection, as its segments show it. Pure."""

from dataclasses import dataclass

from sockmon.model.segments import NUMBERS
from sockmon.model.states import TcpState

_FIRST_RETRY = 1_000_000_000  # TCP_TIMEOUT_INIT


@dataclass(slots=True)
class End:
    """One end. Times are nanoseconds since 1970; sequence numbers are those that it sent.

    next: one past the highest that is known to be sent. sent: bytes of data up to there, by the
    numbers. in_steps: how many of them are in steps; data_at: when the others began.
    window: the last one. probes: how many probes (keepalive, zero window) in a row had no answer.
    syn_gap: between the last two SYNs. peer_next: the peer's `next` when this end sent its FIN.
    acked_alone: the segment that first acknowledged the FIN was no FIN itself. fin_due: the peer's
    FIN is still on its way to this end.
    """

    state: TcpState = TcpState.CLOSE
    device: int | None = None
    isn: int | None = None
    next: int | None = None
    sent: int = 0
    in_steps: int = 0
    data_at: int = 0
    window: int = -1
    probes: int = 0
    syns: int = 0
    syn_at: int | None = None
    last_syn_at: int = 0
    syn_gap: int = 0
    has_answered: bool = False
    fin: int | None = None
    fin_at: int = 0
    last_fin_at: int = 0
    fins: int = 0
    fin_acked_at: int | None = None
    acked_alone: bool = False
    fin_due: bool = False
    peer_next: int | None = None

    @property
    def gives_up_at(self) -> int:
        """Return when its next SYN is overdue: the wait between two at most doubles each time."""
        longest = 2 * max(self.syn_gap, _FIRST_RETRY)
        return self.last_syn_at + longest + longest // 10

    def reach(self, number: int, time: int, unknown: int = 0) -> None:
        """Note that everything before a number has been sent.

        unknown: bytes to count if it is not known what was sent before.
        """
        if self.next is None:
            self.next, more = number, unknown
        else:
            more = (number - self.next) & NUMBERS
            if not 0 < more < 0x80000000:
                return
            self.next = number
        if more:
            if self.sent == self.in_steps:
                self.data_at = time
            self.sent += more
