"""Listeners, connections, and closing them without a trace: `sockmon drill`'s own."""

from sockmon.drill.lab.sockets import (
    accepted,
    close_in_turn,
    connected,
    connecting,
    connections,
    kept,
    listening,
    read_to_end,
    reset_on_close,
    retransmits,
    service_address,
)

__all__ = [
    "accepted",
    "close_in_turn",
    "connected",
    "connecting",
    "connections",
    "kept",
    "listening",
    "read_to_end",
    "reset_on_close",
    "retransmits",
    "service_address",
]
