"""The words for how TCP connections open and close, as segments show it."""

from typing import Literal

Side = Literal["client", "server"]
#: closing: both FINs were seen, and no ACK of the second. no_answer: to the client's SYN. no_ack:
#: to the server's SYN-ACK.
How = Literal["closed", "closing", "half_closed", "reset", "refused", "no_answer", "no_ack", "open"]
#: How it is known who the client is: by its SYN, by the SYN-ACK to it, because the other end is
#: known to be a server's, or only guessed by the ports.
OpenedBy = Literal["SYN", "SYN ACK", "listener", "ports"]
#: data: all segments with data until something else happens.
StepKind = Literal["SYN", "SYN ACK", "ACK", "data", "FIN", "RST"]
#: Zeek's words (conn.log's conn_state).
ConnState = Literal[
    "S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH"
]
