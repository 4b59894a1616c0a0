"""Rehearsals of the night it matters: real sockets in real trouble, bounded, gone afterwards."""

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
)
