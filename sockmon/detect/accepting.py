"""Advice about a server that does not accept, or not read, whatever the protocol: is it alive?"""

import numpy as np
from numpy.typing import NDArray

from sockmon.detect import evidence
from sockmon.detect.commands import processes_named
from sockmon.detect.evidence import holder
from sockmon.language import Text
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Advice, Quantity
from sockmon.model.limits import TcpSettings
from sockmon.model.owner import Group, Owner
from sockmon.model.states import TcpState

#: A server that has sent data within so many seconds is alive.
_ALIVE_SECONDS = 15.0

SEE_QUEUE = Text(
    "See its queue (Recv-Q of Send-Q) and who holds it:",
    "查看全连接队列（Recv-Q 为当前长度，Send-Q 为上限）和持有者：",
)


def connections_wait(count: int, where: str = "") -> str:
    """Return "1 connection waits" or "5 connections to WHERE wait"."""
    to = f" to {where}" if where else ""
    return f"1 connection{to} waits" if count == 1 else f"{count} connections{to} wait"


def no_descriptors(owner: Owner | None) -> list[Advice]:
    """Say that accept() fails for want of descriptors, if it does."""
    for first in owner.processes if owner else ():
        if first.fd_limit and (first.fds or 0) >= first.fd_limit:
            text = Text(
                f"PID {first.pid} has used all of its {first.fd_limit} file descriptors, so "
                "accept() fails with EMFILE. It must close what it does not need, or get a higher "
                "limit (LimitNOFILE= in its unit).",
                f"PID {first.pid} 的 {first.fd_limit} 个文件描述符已经用完，accept() 返回 EMFILE。"
                "要么关闭不再需要的 fd，要么调高上限（unit 里的 LimitNOFILE=）。",
            )
            return [Advice(text)]
    return []


def why_stuck(owner: Owner | None) -> Advice:
    """Say why a server may have stopped to accept: its descriptors, or its threads."""
    exhausted = no_descriptors(owner)
    if exhausted:
        return exhausted[0]
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


def serving_others(data: DetectorInput, group: Group, some: NDArray[np.intp]) -> int:
    """Return on how many connections of a group data was sent just now, but for some of its rows.

    It is known of ports that tcp_info was asked about, as of those where something waits.
    """
    heard, table = data.heard, data.table
    recent = heard.cookie[heard.data_sent_ms < 1000 * _ALIVE_SECONDS]
    served = (table.state == TcpState.ESTABLISHED) & np.isin(table.cookie, recent)
    served &= (table.inode != 0) & (table.retransmits == 0)
    served[some] = False
    return int(data.belonging(np.flatnonzero(served), group, some).size)


def others_served(connections: int) -> Text:
    """Return "; it still serves 5 others"."""
    return Text(
        f"; it still serves {connections} others", f"；它仍在为另外 {connections} 个连接服务"
    )


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
