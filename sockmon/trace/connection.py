"""A TCP connection as its segments show it: two ends, each in a state of RFC 9293. Pure."""

from dataclasses import dataclass, field
from typing import Literal

from sockmon.model.closes import OpenedBy, StepKind
from sockmon.model.segments import ACK, FIN, NUMBERS, RST, SYN, Segment, is_after, port_of
from sockmon.model.states import TcpState
from sockmon.trace.copies import is_copy, is_new
from sockmon.trace.end import End
from sockmon.trace.transitions import NEXT, Event

CLIENT, SERVER = 0, 1

#: acknowledges: the peer's FIN, for the first time.
Note = Literal["", "again", "acknowledges"]

_CAPITALS = {letter: letter.upper() for letter in "shadftr"}
#: Beyond these, later steps are counted only: a connection takes bounded memory.
MOST_STEPS = 64
#: An RST's sequence number may be made up; one further ahead than this is not believed.
_NEAR = 1 << 24


@dataclass(slots=True)
class Step:
    """One line of the ladder. size: bytes of data. states: of both ends, after it.

    Data is one step until something else happens, however many segments carried it.
    """

    time: int
    end: int
    kind: StepKind
    size: int
    states: list[TcpState]
    note: Note = ""


@dataclass(slots=True)
class Connection:
    """Both ends, the client first. names: their addresses and ports.

    opened_by: how it is known who the client is: by its SYN, by the SYN-ACK to it, because the
    other end is known to be a server's, or only guessed by the ports. opposite: the server's
    segment was seen first.
    keeps_steps: whether `steps` are kept, for a ladder.
    A FIN is taken to have arrived when it is seen. That is corrected if the other end's FIN does
    not acknowledge it: they crossed. has_ended: nothing is left to come, after a reset or when both
    FINs are acknowledged. late_bytes: what the second closer sent after the first FIN.
    have_crossed: neither FIN acknowledges the other. late_rst_by: who answered the last FIN with a
    reset, in place of an ACK. challenged: the SYN was answered by an ACK of another connection.
    reported: how often it was reported that one end has not closed. opening_reported: whether its
    opening was. seen_until: until when nothing has followed its last segment, as far as known.
    """

    names: tuple[bytes, bytes]
    opened_by: OpenedBy
    first_at: int
    last_at: int
    opposite: bool = False
    ends: tuple[End, End] = field(default_factory=lambda: (End(), End()))
    keeps_steps: bool = True
    steps: list[Step] = field(default_factory=list)
    omitted: int = 0
    segments: int = 0
    history: str = ""
    established_at: int | None = None
    rst_by: int | None = None
    rst_has_ack: bool = False
    rst_states: tuple[TcpState, TcpState] = (TcpState.CLOSE, TcpState.CLOSE)
    first_fin_by: int | None = None
    have_crossed: bool = False
    late_rst_by: int | None = None
    challenged: bool = False
    late_bytes: int = 0
    has_ended: bool = False
    reported: int = 0
    opening_reported: bool = False
    seen_until: int = 0

    @classmethod
    def begin(cls, segment: Segment, server: bytes | None = None) -> "Connection":
        """Return the connection that a segment belongs to; take() the segment afterwards.

        server: which end is known to be the server's.
        """
        names = (segment.source, segment.destination)
        if segment.flags & RST or not segment.flags & SYN:
            opposite = port_of(segment.source) < port_of(segment.destination)
            if server is not None:
                opposite = server == segment.source
            opened_by: OpenedBy = "ports" if server is None else "listener"
            made = cls(names[::-1] if opposite else names, opened_by, segment.time, segment.time)
            for end in made.ends:
                end.state = TcpState.ESTABLISHED
        elif segment.flags & ACK:
            opposite = True
            made = cls(names[::-1], "SYN ACK", segment.time, segment.time)
        else:
            return cls(names, "SYN", segment.time, segment.time)
        made.opposite = opposite
        return made

    @property
    def is_unanswered(self) -> bool:
        """Whether only SYNs of the client were seen, and nothing that the server has sent."""
        client, server = self.ends
        return (
            client.isn is not None
            and server.device is None
            and server.next is None
            and self.rst_by is None
        )

    @property
    def unseen(self) -> int | None:
        """Return the end of which no segment was captured, though the other one has answered it."""
        sides = () if self.is_with_itself else (CLIENT, SERVER)
        ends = self.ends
        unseen = (at for at in sides if ends[at].device is None and ends[at].next is not None)
        return next(unseen, None)

    @property
    def is_with_itself(self) -> bool:
        """Whether a socket is connected to itself."""
        return self.names[CLIENT] == self.names[SERVER]

    @property
    def awaits_last_ack(self) -> bool:
        """Whether both ends have closed, and the second FIN is not acknowledged."""
        client, server = self.ends
        return client.fin is not None and server.fin is not None and not self.has_ended

    @property
    def is_half_open(self) -> bool:
        """Whether the server's SYN-ACK has no answer."""
        client, server = self.ends
        return (
            TcpState.SYN_RECV in {client.state, server.state}
            and self.rst_by is None
            and not server.sent
        )

    @property
    def is_half_closed(self) -> bool:
        """Whether one end has closed, and the other has not."""
        client, server = self.ends
        return self.rst_by is None and (client.fin is None) != (server.fin is None)

    @property
    def zeek_history(self) -> str:
        """Return the history in Zeek's letters; ^ if the server's segment was seen first."""
        return ("^" if self.opposite else "") + self.history

    def is_new(self, segment: Segment) -> bool:
        """Whether a SYN begins another connection of the same addresses and ports."""
        if self.has_ended:
            return True
        sender = CLIENT if segment.source == self.names[CLIENT] else SERVER
        isn = self.ends[sender].isn
        if isn is None:  # both connect to each other at once, or the beginning was not seen
            return sender == CLIENT or self.ends[CLIENT].state is not TcpState.SYN_SENT
        return isn != segment.seq

    def take(self, segment: Segment) -> bool:
        """Take in one of its segments, in the order seen; nothing changes what has ended.

        Returns False for one that is ignored, since it was seen before: bridges, loopback and
        mirror ports show each packet twice. Of another device only what is new counts: then the
        path has changed.
        """
        me = CLIENT if segment.source == self.names[CLIENT] else SERVER
        mine, yours = self.ends[me], self.ends[1 - me]
        if mine.device != segment.device:
            if mine.device is not None and (self.has_ended or not is_new(segment, mine, yours)):
                return False
            mine.device = segment.device
        elif segment.flags & (SYN | FIN) and is_copy(segment, mine):
            return False
        self.segments += 1
        if self.has_ended:
            if segment.flags & RST:
                self._letter("r", me)
            return True
        self.last_at = segment.time
        if segment.flags & RST:
            self._reset(segment, me)
        elif segment.flags & SYN:
            self._syn(segment, me)
        else:
            mine.window, yours.probes = segment.window, 0
            self._other(segment, me)
        return True

    def _other(self, segment: Segment, me: int) -> None:
        """Take in a segment that is neither SYN nor RST."""
        flags = segment.flags
        if segment.payload:
            self._data(segment, me)
        elif flags & (ACK | FIN) == ACK:
            self._letter("a", me)
            mine = self.ends[me]
            if mine.next is not None and (segment.seq + 1) & NUMBERS == mine.next:
                mine.probes += 1
        if flags & ACK:
            self._acknowledge(segment, me)
        if flags & FIN:
            self._fin(segment, me)

    def _syn(self, segment: Segment, me: int) -> None:
        mine, yours = self.ends[me], self.ends[1 - me]
        answers = bool(segment.flags & ACK)
        mine.syns += 1
        if mine.syns > 1:
            mine.syn_gap = segment.time - mine.last_syn_at
        mine.last_syn_at = segment.time
        kind: StepKind = "SYN ACK" if answers else "SYN"
        if mine.isn == segment.seq and mine.has_answered == answers:
            self._add(segment.time, me, kind, note="again")
            return
        self._letter("h" if answers else "s", me)
        if mine.isn is None:
            mine.isn, mine.syn_at = segment.seq, segment.time
            if mine.next is None:
                mine.next = (segment.seq + 1) & NUMBERS
                mine.reach((mine.next + segment.payload) & NUMBERS, segment.time)  # Fast Open
                mine.in_steps = mine.sent
        mine.has_answered = answers
        if answers:
            self._answer(segment, me)
        else:
            self._event(me, Event.SEND_SYN)
            self._event(1 - me, Event.GET_SYN)
        self._add(segment.time, me, kind, segment.payload)
        yours.in_steps = yours.sent

    def _answer(self, segment: Segment, me: int) -> None:
        """Take in what a SYN-ACK says to its receiver."""
        you = 1 - me
        yours = self.ends[you]
        self._event(me, Event.SEND_SYN_ACK)
        if yours.isn is None:  # its SYN was not seen
            yours.isn = (segment.ack - 1) & NUMBERS
            self._event(you, Event.SEND_SYN)
        yours.reach(segment.ack, segment.time)
        self._event(you, Event.GET_SYN_ACK)
        self._event(you, Event.SYN_ACKED)

    def _data(self, segment: Segment, me: int) -> None:
        mine = self.ends[me]
        upto = (segment.seq + segment.payload) & NUMBERS
        if mine.next is not None and not is_after(upto, mine.next):
            self._letter("t", me)
            return
        self._letter("d", me)
        mine.reach(upto, segment.time, segment.payload)

    def _acknowledge(self, segment: Segment, me: int) -> None:
        mine, yours = self.ends[me], self.ends[1 - me]
        if yours.fin_due and not segment.flags & FIN:
            yours.fin_due = False  # what was sent after a FIN arrives after it
            self._event(1 - me, Event.GET_FIN)
        if yours.state is TcpState.SYN_SENT:
            self.challenged = True  # it acknowledges something else than the SYN
        elif yours.fin is None:
            yours.reach(segment.ack, segment.time)
            if yours.state is TcpState.SYN_RECV:
                self._acknowledge_syn(segment, me)
        elif segment.ack == (yours.fin + 1) & NUMBERS:
            if mine.fin_due:
                mine.fin_due = False
                self._event(me, Event.GET_FIN)
            if yours.fin_acked_at is None:
                self._acknowledge_fin(segment, me)

    def _acknowledge_syn(self, segment: Segment, me: int) -> None:
        isn = self.ends[1 - me].isn
        if isn is None or not is_after(segment.ack, isn):
            return
        self._event(1 - me, Event.SYN_ACKED)
        self.established_at = segment.time
        if not segment.payload and not segment.flags & FIN:
            self._add(segment.time, me, "ACK")

    def _acknowledge_fin(self, segment: Segment, me: int) -> None:
        mine, yours = self.ends[me], self.ends[1 - me]
        yours.fin_acked_at = segment.time
        yours.acked_alone = not segment.flags & FIN
        self.has_ended = mine.fin_acked_at is not None
        self._event(1 - me, Event.FIN_ACKED)
        if segment.payload:
            self.add_data_step()
            if self.steps and self.steps[-1].kind == "data" and self.steps[-1].end == me:
                self.steps[-1].note = "acknowledges"
        elif not segment.flags & FIN:
            self._add(segment.time, me, "ACK", note="acknowledges")

    def _fin(self, segment: Segment, me: int) -> None:
        mine, yours = self.ends[me], self.ends[1 - me]
        mine.fins += 1
        mine.last_fin_at = segment.time
        fin = (segment.seq + segment.payload) & NUMBERS
        if mine.fin is not None:
            self._add(segment.time, me, "FIN", note="again")
            return
        self._letter("f", me)
        mine.reach(fin, segment.time)
        self.add_data_step()
        mine.fin, mine.fin_at, mine.next = fin, segment.time, (fin + 1) & NUMBERS
        mine.peer_next = yours.next
        note: Note = ""
        if yours.fin is None:
            self.first_fin_by = me
        elif yours.fin_acked_at is None:
            self.have_crossed = True
            self._take_back(me)
        else:
            self._count_late(mine, yours)
            note = self._acknowledging(me)
        self._event(me, Event.SEND_FIN)
        self._event(1 - me, Event.GET_FIN)
        self._add(segment.time, me, "FIN", note=note)

    def _acknowledging(self, me: int) -> Note:
        """Return the note of the second FIN; data sent before it has acknowledged the first."""
        if self.ends[1 - me].acked_alone:
            return ""
        last = self.steps[-1] if self.steps else None
        if self.late_bytes and last is not None and last.kind == "data" and last.end == me:
            last.note = "acknowledges"
            return ""
        return "acknowledges"

    def _count_late(self, mine: End, yours: End) -> None:
        """Count what this end sent after it had got the peer's FIN."""
        if yours.peer_next is not None and mine.fin is not None:
            late = (mine.fin - yours.peer_next) & NUMBERS
            self.late_bytes = late if late < 0x80000000 else 0

    def _take_back(self, me: int) -> None:
        """Correct that the peer's FIN was taken to have arrived: this end has closed without it."""
        mine = self.ends[me]
        if mine.state is not TcpState.CLOSE_WAIT:
            return
        mine.state = TcpState.ESTABLISHED
        mine.fin_due = True
        for step in reversed(self.steps):
            if step.states[me] is not TcpState.CLOSE_WAIT:
                break
            step.states[me] = TcpState.ESTABLISHED

    def _reset(self, segment: Segment, me: int) -> None:
        mine, yours = self.ends[me], self.ends[1 - me]
        self._letter("r", me)
        if self.awaits_last_ack:
            self._reset_late(segment, me)
        if self.rst_by is not None or (mine.fin is not None and yours.fin is not None):
            return  # the first decides, and after both FINs none does
        if segment.flags & ACK:
            if mine.next is not None and (segment.seq - mine.next) & NUMBERS < _NEAR:
                mine.reach(segment.seq, segment.time)
            if yours.next is not None and yours.fin is None:
                yours.reach(segment.ack, segment.time)
        self.add_data_step()
        self.rst_by, self.has_ended = me, True
        self.rst_has_ack = bool(segment.flags & ACK)
        self.rst_states = (self.ends[CLIENT].state, self.ends[SERVER].state)
        self._event(me, Event.SEND_RST)
        self._event(1 - me, Event.GET_RST)
        self._add(segment.time, me, "RST")

    def _reset_late(self, segment: Segment, me: int) -> None:
        """Take in a reset that comes in place of the last ACK."""
        self.late_rst_by, self.has_ended = me, True
        for step in reversed(self.steps):
            if step.states[me] is not TcpState.TIME_WAIT:
                break
            step.states[me] = TcpState.CLOSE  # it was gone when the FIN came
        self._event(me, Event.SEND_RST)
        self._event(1 - me, Event.GET_RST)
        self._add(segment.time, me, "RST")

    def _event(self, end: int, event: Event) -> None:
        it = self.ends[end]
        it.state = NEXT[event][it.state]

    def _letter(self, letter: str, me: int) -> None:
        """Add to the history, in Zeek's letters: capitals are the client's, each at its first."""
        mark = letter if me else _CAPITALS[letter]
        if mark not in self.history:
            self.history += mark

    def add_data_step(self) -> None:
        """Make steps of the data sent since the last one, of whichever end began first."""
        client, server = self.ends
        if client.sent == client.in_steps and server.sent == server.in_steps:
            return
        order = (CLIENT, SERVER) if client.data_at <= server.data_at else (SERVER, CLIENT)
        for me in order:
            it = self.ends[me]
            size = it.sent - it.in_steps
            if size:
                it.in_steps = it.sent
                last = self.steps[-1] if self.steps else None
                if last is not None and last.kind == "data" and last.end == me:
                    last.size += size
                else:
                    self._add(it.data_at, me, "data", size)

    def _add(self, time: int, me: int, kind: StepKind, size: int = 0, note: Note = "") -> None:
        """Add a step, with the states that both ends are in now."""
        if not self.keeps_steps:
            return
        if len(self.steps) < MOST_STEPS:
            client, server = self.ends
            self.steps.append(Step(time, me, kind, size, [client.state, server.state], note))
        else:
            self.omitted += 1
