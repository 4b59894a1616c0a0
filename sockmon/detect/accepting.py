"""Advice about a server that does not accept its connections, whatever their protocol."""

from sockmon.detect import evidence
from sockmon.detect.evidence import who
from sockmon.model.finding import Advice, Quantity
from sockmon.model.limits import TcpSettings
from sockmon.model.owner import Owner


def why_stuck(owner: Owner | None) -> Advice:
    """Say why a server may have stopped to accept: its descriptors, or its threads."""
    exhausted = (
        [p for p in owner.processes if p.fd_limit and (p.fds or 0) >= p.fd_limit] if owner else []
    )
    if exhausted:
        first = exhausted[0]
        return Advice(
            f"PID {first.pid} has used all of its {first.fd_limit} file descriptors, so accept() "
            "fails with EMFILE. It must close what it does not need, or get a higher limit "
            "(LimitNOFILE= in its unit)."
        )
    return Advice(
        f"{who(owner)} does not call accept(): its threads are stuck (a deadlock, a full pool, a "
        "backend without a time-out), it has reached a limit of connections of its own (maxconn), "
        "or its descriptors are used up. A stack trace of it says which (gdb, jstack, py-spy, a "
        "goroutine dump)."
    )


def too_slow(owner: Owner | None) -> Advice:
    """Say why a server may accept too slowly."""
    return Advice(
        f"{who(owner)} must call accept() more often: it is out of processor time or threads, or "
        "too small for the load."
    )


def somaxconn(settings: TcpSettings | None) -> dict[str, Quantity]:
    """Return net.core.somaxconn as evidence, nothing where this namespace does not show it."""
    most = None if settings is None else settings.somaxconn
    return {} if most is None else {"somaxconn": evidence.count(most)}


def about_limit(settings: TcpSettings | None, limit: int, owner: Owner | None) -> Advice:
    """Say where the limit of an accept queue comes from, and when a higher one helps."""
    server = who(owner)
    if settings is None or settings.somaxconn is None:
        return Advice("The limit is the lesser of listen()'s backlog and net.core.somaxconn.")
    if limit >= settings.somaxconn:
        return Advice(
            f"The limit of {limit} is net.core.somaxconn. For short bursts raise it, and the "
            f"backlog that {server} asks for, and restart {server}; for a stuck application it "
            "only makes clients wait longer."
        )
    return Advice(
        f"The limit of {limit} is what {server} asked for with listen(); somaxconn would allow "
        f"{settings.somaxconn}. For short bursts raise it there (nginx: backlog=) and restart; "
        "for a stuck application it only makes clients wait longer."
    )
