"""What `sockmon trace --format json` prints."""

from typing import Literal, TypedDict

from sockmon.model.closes import ConnState, How, OpenedBy, Side, StepKind
from sockmon.model.states import StateLabel


class TraceEnd(TypedDict):
    """One end of a connection."""

    address: str
    port: int
    state: StateLabel
    """After the last segment seen; that of another host is inferred."""
    sent_bytes: int
    """Data, by sequence numbers."""
    syns: int
    """How often its SYN, or SYN-ACK, was seen."""
    fins: int
    was_captured: bool
    """Whether any of its segments was seen; else only the other end's ACKs say what it did."""
    owner: str | None
    """Process and unit that hold this end, or its listener; live only."""


class TraceStep(TypedDict):
    """A segment, or all data between two others, and the states of both ends after it."""

    time: float
    sender: Side
    segment: StepKind
    bytes: int
    """Of data."""
    note: Literal["again", "acknowledges"] | None
    """again: sent before; acknowledges: the other end's FIN, for the first time."""
    client_state: StateLabel
    server_state: StateLabel


class TraceConnection(TypedDict):
    """A line of `sockmon trace --format json`: a connection that is over, or what became of it."""

    type: Literal["connection"]
    time: float
    """Of its first segment."""
    client: TraceEnd
    server: TraceEnd
    client_known_by: OpenedBy
    """By its SYN, by the SYN-ACK, because the other end is a server's, or guessed by the ports."""
    how: How
    """closing: the last ACK was not seen; no_answer: to the SYN; no_ack: to the SYN-ACK."""
    first: Side | Literal["both"] | None
    """Who closed first; both: the FINs crossed."""
    segments: int | None
    """Of the close: 3 if the second FIN was the first to acknowledge the first FIN, else 4."""
    late_bytes: int
    """What the second end sent after the first FIN: a half-close in use."""
    lasted_seconds: float
    connect_seconds: float | None
    """From the first SYN to the SYN-ACK."""
    close_delay_seconds: float | None
    """From the first FIN to the second, without the round trip to a remote end."""
    ack_delay_seconds: float | None
    """The same, to an ACK of the first FIN that is no FIN itself."""
    reset_by: Side | None
    last_ack_is_reset_of: Side | None
    """Who answered the last FIN by a reset, or reset after it."""
    receive_queue_bytes: int | None
    """Of the end that has not closed, with the peer's FIN; live only."""
    others_in_close_wait: int
    """Other sockets of the same port in CLOSE_WAIT; live only."""
    conn_state: ConnState
    """Zeek's word."""
    history: str
    """In Zeek's letters."""
    steps: list[TraceStep]


class TraceNotDecoded(TypedDict):
    """Packets that were not decoded."""

    tunnels: int
    fragments: int
    short: int
    """Too little of them was captured."""
    unknown_links: int
    """Of unknown link types."""


class TraceSummary(TypedDict):
    """The last line of `sockmon trace --format json`."""

    type: Literal["end"]
    connections: int
    segments: int
    dropped_packets: int
    """By the kernel, or by the program that captured."""
    repeated_segments: int
    """Copies: seen on a second device, or twice on one."""
    forgotten_connections: int
    """More were open than are followed; the oldest gave way."""
    not_decoded: TraceNotDecoded
