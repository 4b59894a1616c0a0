"""Drills: real sockets in a real condition, within limits, and gone afterwards."""

#: What `sockmon drill` can make; scenarios.py says how.
NAMES = (
    "close-wait",
    "half-close",
    "fin-wait2",
    "time-wait",
    "syn-sent",
    "accept-queue",
    "port-exhaustion",
    "dead-peer",
    "last-ack",
    "connect-failures",
    "slow-close",
    "resets",
)
