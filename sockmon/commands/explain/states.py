"""The eleven states of TCP (RFC 9293, section 3.3.2): who ends each of them."""

from sockmon.commands.explain.symptom import Symptom
from sockmon.language import Text
from sockmon.model.states import TcpState


def _state(state: TcpState, en: str, zh: str, runbook: str | None = None) -> Symptom:
    name = state.name
    see = (f"sockmon count --state {state.label} --by port,direction",)
    spellings = (name, state.spelled("ss"), name.replace("_", "-"), name.replace("_", ""))
    names = dict.fromkeys(spellings)
    return Symptom(names=tuple(names), what=Text(en, zh), see=see, runbook=runbook)


STATES: tuple[Symptom, ...] = (
    _state(
        TcpState.LISTEN,
        "A server waits for connections. In ss, Recv-Q is the length of its accept queue and "
        "Send-Q the limit.",
        "服务端等待连接。ss 里 Recv-Q 是全连接队列的长度，Send-Q 是上限。",
        "SockmonAcceptQueue",
    ),
    _state(
        TcpState.SYN_SENT,
        "connect() has sent a SYN and waits for the answer. Seconds in this state mean that nobody "
        "answers.",
        "connect() 已发出 SYN，等待应答。停留几秒说明没有人应答。",
        "SockmonConnectStalled",
    ),
    _state(
        TcpState.SYN_RECV,
        "A half-open connection: a SYN came in, the SYN-ACK is sent, the client's ACK is missing.",
        "半连接：收到 SYN，已回 SYN-ACK，还没收到客户端的 ACK。",
        "SockmonSynBacklog",
    ),
    _state(
        TcpState.ESTABLISHED,
        "The connection is open in both directions. It stays so without a timeout: without "
        "keepalive nobody notices that an idle peer has gone.",
        "连接双向打开，没有超时：不开 keepalive，空闲的对端消失了也没人知道。",
        "SockmonDeadPeer",
    ),
    _state(
        TcpState.FIN_WAIT1,
        "This host has closed first, and its FIN is not acknowledged yet. The other kernel ends "
        "the state.",
        "本机先关闭，FIN 还没有得到确认。由对方内核结束这个状态。",
        "SockmonClosingStalled",
    ),
    _state(
        TcpState.FIN_WAIT2,
        "This host's FIN is acknowledged; the peer has not closed. The peer's application must. "
        "Once no process here holds the socket, net.ipv4.tcp_fin_timeout (60 s) ends it.",
        "本机的 FIN 已被确认，对端没有关闭，要由对端应用 close()。本机没有进程持有之后，"
        "net.ipv4.tcp_fin_timeout（60 秒）会结束它。",
        "SockmonFinWait2Stuck",
    ),
    _state(
        TcpState.CLOSING,
        "Both ends have closed at the same time, and this host's FIN is not acknowledged yet.",
        "双方同时关闭，本机的 FIN 还没有得到确认。",
        "SockmonClosingStalled",
    ),
    _state(
        TcpState.TIME_WAIT,
        "This host has closed first. The kernel keeps the addresses for 60 s; no process is "
        "involved, and no setting shortens it. Harmless, unless local ports or "
        "net.ipv4.tcp_max_tw_buckets run out.",
        "本机先关闭。内核把这对地址保留 60 秒（2MSL），与进程无关，没有参数可以缩短。除非本地端口"
        "或 "
        "net.ipv4.tcp_max_tw_buckets 不够用，否则无害。",
        "SockmonTimeWaitPressure",
    ),
    _state(
        TcpState.CLOSE_WAIT,
        "The peer has closed; the application on this host must call close(). There is no timeout.",
        "对端已关闭，本机应用必须调用 close()。没有超时。",
        "SockmonCloseWaitLeak",
    ),
    _state(
        TcpState.LAST_ACK,
        "The peer closed first, then this host; its FIN is not acknowledged yet. The peer's kernel "
        "ends the state.",
        "对端先关闭，本机随后关闭，FIN 还没有得到确认。由对方内核结束这个状态。",
        "SockmonClosingStalled",
    ),
    _state(
        TcpState.CLOSE,
        "No connection: the socket is made, or has ended, and a process still has its descriptor.",
        "没有连接：socket 刚创建或已结束，进程还持有它的 fd。",
        "SockmonDescriptorPressure",
    ),
)
