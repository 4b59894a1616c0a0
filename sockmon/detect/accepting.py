"""Advice about a server that does not accept its connections, whatever their protocol."""

from sockmon.detect import evidence
from sockmon.detect.commands import processes_named
from sockmon.detect.evidence import holder
from sockmon.language import Text
from sockmon.model.finding import Advice, Quantity
from sockmon.model.limits import TcpSettings
from sockmon.model.owner import Owner

SEE_QUEUE = Text(
    "See its queue (Recv-Q of Send-Q) and who holds it:",
    "查看全连接队列（Recv-Q 为当前长度，Send-Q 为上限）和持有者：",
)


def connections_wait(count: int, where: str = "") -> str:
    """Return "1 connection waits" or "5 connections to WHERE wait"."""
    to = f" to {where}" if where else ""
    return f"1 connection{to} waits" if count == 1 else f"{count} connections{to} wait"


def why_stuck(owner: Owner | None) -> Advice:
    """Say why a server may have stopped to accept: its descriptors, or its threads."""
    exhausted = (
        [p for p in owner.processes if p.fd_limit and (p.fds or 0) >= p.fd_limit] if owner else []
    )
    if exhausted:
        first = exhausted[0]
        return Advice(
            Text(
                f"PID {first.pid} has used all of its {first.fd_limit} file descriptors, so "
                "accept() fails with EMFILE. It must close what it does not need, or get a higher "
                "limit (LimitNOFILE= in its unit).",
                f"PID {first.pid} 的 {first.fd_limit} 个文件描述符已经用完，accept() 返回 EMFILE。"
                "要么关闭不再需要的 fd，要么调高上限（unit 里的 LimitNOFILE=）。",
            )
        )
    name = holder(owner)
    text = Text(
        f"{name} does not call accept(): its threads are stuck (a deadlock, a full pool, a "
        "backend without a time-out), it has reached a limit of connections of its own "
        "(maxconn), or its descriptors are used up. A stack trace of it says which (gdb, "
        "jstack, py-spy, a goroutine dump). If it never was to accept, it has inherited the "
        "socket from a service that has ended: then end it.",
        f"{name.zh} 没有调用 accept()：线程卡住（死锁、线程池满、后端调用没有超时），达到自身的"
        "连接数上限（maxconn），或者 fd 用完。抓一份线程栈就能区分（gdb、jstack、py-spy、"
        "goroutine dump）。如果它本来就不该 accept，那它是从已退出的服务继承了这个 socket：结束它"
        "即可。",
    )
    if owner is not None and len({process.name for process in owner.processes}) > 1:
        its = processes_named(owner.processes, owner.more)
        text += Text(f" The socket is held by {its}.", f"持有这个 socket 的有 {its.zh}。")
    return Advice(text)


def still_serves(owner: Owner | None, connections: int) -> Advice:
    """Say that a server that accepts nothing is alive, and what it may wait for."""
    name = holder(owner)
    return Advice(
        Text(
            f"Do not restart {name} before you have looked: it is alive, and has just sent data on "
            f"{connections} of its connections, which a restart ends. It has reached a limit of "
            "its own (maxconn, workers, threads, a pool). Raise that limit, or let those go who "
            "hold its connections:",
            f"先查看，不要急于重启 {name.zh}：它还活着，刚刚在 {connections} 个连接上发送过数据，"
            "重启会中断它们。它达到了自身的上限（maxconn、worker 数、线程数、连接池）。调高该上限，"
            "或让占用连接的一方放手：",
        ),
        None,
        "stop",
    )


def too_slow(owner: Owner | None) -> Advice:
    """Say why a server may accept too slowly."""
    name = holder(owner)
    return Advice(
        Text(
            f"{name} must call accept() more often: it is out of processor time or threads, or "
            "too small for the load.",
            f"{name.zh} 调用 accept() 不够快：CPU 或线程不够用，或者容量小于负载。",
        )
    )


def somaxconn(settings: TcpSettings | None) -> dict[str, Quantity]:
    """Return net.core.somaxconn as evidence, nothing where this namespace does not show it."""
    most = None if settings is None else settings.somaxconn
    return {} if most is None else {"somaxconn": evidence.count(most)}


def about_limit(settings: TcpSettings | None, limit: int, owner: Owner | None) -> Advice:
    """Say where the limit of an accept queue comes from, and when a higher one helps."""
    server = holder(owner)
    if settings is None or settings.somaxconn is None:
        return Advice(
            Text(
                "The limit is the lesser of listen()'s backlog and net.core.somaxconn.",
                "上限取 listen() 的 backlog 与 net.core.somaxconn 中较小者。",
            )
        )
    if limit >= settings.somaxconn:
        return Advice(
            Text(
                f"The limit of {limit} is net.core.somaxconn. For short bursts raise it, and the "
                f"backlog that {server} asks for, and restart {server}; for a stuck application it "
                "only makes clients wait longer.",
                f"上限 {limit} 来自 net.core.somaxconn。如果只是瞬时突发，把它和 {server.zh} 传给 "
                "listen() 的 backlog 一起调大，再重启；如果应用卡住，调大只会让客户端等得更久。",
            )
        )
    return Advice(
        Text(
            f"The limit of {limit} is what {server} asked for with listen(); somaxconn would allow "
            f"{settings.somaxconn}. For short bursts raise it there (nginx: backlog=) and restart; "
            "for a stuck application it only makes clients wait longer.",
            f"上限 {limit} 是 {server.zh} 传给 listen() 的 backlog，somaxconn 允许到 "
            f"{settings.somaxconn}。如果只是瞬时突发，在应用里调大（nginx：backlog=）再重启；"
            "如果应用卡住，调大只会让客户端等得更久。",
        )
    )
