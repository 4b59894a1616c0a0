"""The settings that articles advise: what each does, and what it does not (ip-sysctl.rst)."""

from sockmon.commands.explain.symptom import Symptom
from sockmon.language import Text


def _sysctl(name: str, en: str, zh: str, runbook: str | None = None) -> Symptom:
    path = f"net.core.{name}" if name == "somaxconn" else f"net.ipv4.{name}"
    return Symptom(names=(path, name), what=Text(en, zh), see=(f"sysctl {path}",), runbook=runbook)


SYSCTLS: tuple[Symptom, ...] = (
    _sysctl(
        "tcp_tw_reuse",
        "1: connect() may take a local port whose connection to the same destination has been in "
        "TIME_WAIT for over a second; both ends need TCP timestamps. 2, the default since Linux "
        "4.19: on loopback only. It helps a client that runs out of ports. It does nothing for "
        "connections that a server accepts, and the number of TIME_WAIT stays.",
        "1：connect() 可以复用到同一目的地址、已在 TIME_WAIT 超过 1 秒的本地端口，双方都要开启 TCP "
        "timestamps。2（4.19 起的默认值）：只在回环上生效。对端口不够用的客户端有效；对服务端接受的"
        "连接无效，TIME_WAIT 的数量也不会减少。",
        "SockmonEphemeralPortPressure",
    ),
    _sysctl(
        "tcp_tw_recycle",
        "Removed in Linux 4.12. Before, it dropped connections of clients behind one NAT, whose "
        "timestamps differ. Delete it from sysctl.conf; tcp_tw_reuse=1 is for clients that run "
        "out of ports.",
        "Linux 4.12 已删除。之前它会丢弃同一 NAT 后面时间戳不一致的客户端连接。从 sysctl.conf 里"
        "删掉"
        "即可；客户端端口不够用时用 tcp_tw_reuse=1。",
        "SockmonTimeWaitPressure",
    ),
    _sysctl(
        "tcp_fin_timeout",
        "How long FIN_WAIT2 lasts once no process holds the socket (60 s). It does not shorten "
        "TIME_WAIT, whose 60 s are fixed in the kernel, nor CLOSE_WAIT, which has no timeout.",
        "没有进程持有的 FIN_WAIT2 保留多久（60 秒）。它不缩短 TIME_WAIT（60 秒写死在内核里），也"
        "不影响 "
        "CLOSE_WAIT（没有超时）。",
        "SockmonFinWait2Stuck",
    ),
    _sysctl(
        "tcp_max_tw_buckets",
        "How many TIME_WAIT sockets a network namespace may have. Above it connections end without "
        "TIME_WAIT. A lower value saves 256 bytes each and risks late segments in a new "
        "connection; there is no reason to lower it.",
        "一个网络命名空间最多有多少 TIME_WAIT，超过后连接直接结束、不进入 TIME_WAIT。调小每个只"
        "省 256 "
        "字节，却可能让迟到的报文混入新连接：没有理由调小。",
        "SockmonTimeWaitPressure",
    ),
    _sysctl(
        "ip_local_port_range",
        "The ports that connect() chooses from, 32768 to 60999 by default: 28232 towards one "
        "destination address and port. Many destinations share them. Before you widen it, put the "
        "ports of your own servers into ip_local_reserved_ports.",
        "connect() 选用本地端口的范围，默认 32768 到 60999：到同一目的地址和端口最多 28232 条连"
        "接，不同"
        "目的地址可以共用。扩大之前，先把本机服务的监听端口写进 ip_local_reserved_ports。",
        "SockmonEphemeralPortPressure",
    ),
    _sysctl(
        "somaxconn",
        "The upper limit of what a server may ask for with listen() (4096 since Linux 5.4, 128 "
        "before). It acts when listen() is called: restart the server, and raise its own backlog "
        "too. `ss -tln` shows the limit in effect as Send-Q.",
        "listen() 的 backlog 的上限（5.4 起为 4096，之前 128）。只在调用 listen() 时生效：服务自"
        "己的 "
        "backlog 也要调大，并重启服务。`ss -tln` 的 Send-Q 就是实际生效的上限。",
        "SockmonAcceptQueue",
    ),
    _sysctl(
        "tcp_max_syn_backlog",
        "While tcp_syncookies is 1, the default, it limits nothing: half-open connections are "
        "limited by the listener's backlog. It counts only with tcp_syncookies = 0.",
        "tcp_syncookies 为 1（默认）时它不起限制作用：半连接的上限是监听 socket 的 backlog。只有 "
        "tcp_syncookies = 0 时才看它。",
        "SockmonSynBacklog",
    ),
    _sysctl(
        "tcp_syncookies",
        "1: if the SYN queue is full, the SYN-ACK carries what is to be known, and clients still "
        "get in. 0: SYNs are dropped. Leave it at 1.",
        "1：半连接队列满时把信息编码进 SYN-ACK，客户端仍能连上。0：直接丢弃 SYN。保持 1 即可。",
        "SockmonSynBacklog",
    ),
    _sysctl(
        "tcp_abort_on_overflow",
        "1: a full accept queue answers with a reset; 0, the default: it drops, and the client "
        "tries again. It makes no queue shorter: the application must accept().",
        "1：全连接队列满时回 RST；0（默认）：丢弃，客户端会重试。队列不会因此变短：要让应用去 "
        "accept()。",
        "SockmonAcceptQueue",
    ),
    _sysctl(
        "tcp_keepalive_time",
        "Idle time before the first keepalive probe (2 h), for sockets with SO_KEEPALIVE only. It "
        "finds dead peers. It does not close CLOSE_WAIT: the peer's kernel answers the probes, or "
        "a reset hides the leak while the descriptor stays.",
        "空闲多久发第一个 keepalive 探测（2 小时），只对设置了 SO_KEEPALIVE 的 socket 有效，用来"
        "发现"
        "已消失的对端。治不了 CLOSE_WAIT：对端内核会应答探测，或回 RST 让连接从表里消失，fd 仍被"
        "占着。",
        "SockmonDeadPeer",
    ),
)
