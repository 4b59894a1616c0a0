"""What this host's socket table and settings add to a connection that was traced."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Facts:
    """Of one connection. client, server: who holds that end, if it is on this host.

    unread: the Recv-Q of the end that has not closed, with the peer's FIN. others: connections of
    the same listener in CLOSE_WAIT, and for how many seconds the oldest has been.
    syn_retries, syn_linear_timeouts: this kernel's settings.
    """

    client: str | None = None
    server: str | None = None
    unread: int | None = None
    others: int = 0
    oldest: float | None = None
    syn_retries: int | None = None
    syn_linear_timeouts: int = 0


NO_FACTS = Facts()
