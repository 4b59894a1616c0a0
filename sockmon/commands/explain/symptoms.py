"""Errors, lines of the kernel's log and of netstat -s, and the words of articles."""

from sockmon.commands.explain.symptom import Symptom
from sockmon.language import Text

SYMPTOMS: tuple[Symptom, ...] = (
    Symptom(
        names=("too many CLOSE_WAIT", "大量 CLOSE_WAIT", "CLOSE_WAIT 过多"),
        what=Text(
            "The peers have closed these connections, and the application on this host has not "
            "called close(). CLOSE_WAIT has no timeout: the kernel keeps the socket, and the "
            "process its file descriptor, until the process closes it or ends. A few that come and "
            "go are normal; those older than a minute are a leak in the application.",
            "对端已经关闭连接，本机应用没有调用 close()。CLOSE_WAIT 没有超时：在进程关闭它或退出"
            "之前，内核"
            "一直保留这个 socket，进程一直占着 fd。少量且很快消失是正常的；停留超过一分钟的就是应"
            "用泄漏。",
        ),
        see=(
            "sockmon doctor",
            "sockmon count --state close_wait --by port,direction,owner",
            "ss -tnpo state close-wait",
        ),
        wrong=Text(
            "No sysctl ends CLOSE_WAIT. tcp_fin_timeout, tcp_tw_reuse and tcp_max_tw_buckets are "
            "about other states. net.ipv4.tcp_keepalive_* acts only on sockets with SO_KEEPALIVE, "
            "and then hides the leak: the peer resets the connection, it leaves the table, and the "
            "descriptor stays in use.",
            "没有任何内核参数能回收 CLOSE_WAIT。tcp_fin_timeout、tcp_tw_reuse、"
            "tcp_max_tw_buckets 管的是"
            "别的状态。net.ipv4.tcp_keepalive_* 只对设置了 SO_KEEPALIVE 的 socket 有效，而且只会"
            "把泄漏藏"
            "起来：对端回 RST，连接从表里消失，fd 仍被占用。",
        ),
        runbook="SockmonCloseWaitLeak",
    ),
    Symptom(
        names=("too many TIME_WAIT", "TIME_WAIT 过多", "大量 TIME_WAIT"),
        what=Text(
            "The side that closes first keeps the connection in TIME_WAIT for 60 s on Linux, so "
            "that late segments disturb no new connection. Such a socket has no process and no "
            "descriptor, and takes some 256 bytes. On a server's own port tens of thousands are "
            "harmless. They matter in two cases: towards one destination each takes a local port, "
            "and at net.ipv4.tcp_max_tw_buckets the kernel skips the state. What helps is to close "
            "less often: keep-alive and connection pools.",
            "主动关闭的一方在 Linux 上会停留 60 秒 TIME_WAIT，避免迟到的报文干扰新连接。它不属于"
            "任何进程，不占 "
            "fd，只占约 256 字节。服务端自己的端口上有几万个也无害。只有两种情况要处理：对同一目"
            "的地址，每个都"
            "占一个本地端口；总数达到 net.ipv4.tcp_max_tw_buckets。有效的办法是少关闭：长连接和连"
            "接池。",
        ),
        see=(
            "sockmon count --state time_wait --by direction,port",
            "sysctl net.ipv4.tcp_max_tw_buckets",
            "nstat -az TcpExtTCPTimeWaitOverflow",
        ),
        wrong=Text(
            "tcp_tw_recycle: removed in Linux 4.12; before, it broke clients behind NAT. "
            "tcp_fin_timeout: is about orphaned FIN_WAIT2, not about TIME_WAIT, whose 60 s are "
            "fixed. Lowering tcp_max_tw_buckets: does not shorten the state, it only makes the "
            "kernel skip it, and fills the log. tcp_tw_reuse=1 is right for connections that this "
            "host makes; it does nothing for those that it accepts.",
            "tcp_tw_recycle：Linux 4.12 已删除，之前会让 NAT 后面的客户端连不上。"
            "tcp_fin_timeout：管的是"
            "孤儿 FIN_WAIT2，与 TIME_WAIT 无关，TIME_WAIT 固定 60 秒。调小 tcp_max_tw_buckets：不"
            "会缩短"
            "时间，只是让内核跳过这个状态，并且刷日志。tcp_tw_reuse=1 对本机主动发起的连接有用，"
            "对被动接受的连接"
            "无效。",
        ),
        runbook="SockmonTimeWaitPressure",
    ),
    Symptom(
        names=(
            "TCP: time wait bucket table overflow",
            "time wait bucket table overflow",
            "TCPTimeWaitOverflow",
        ),
        what=Text(
            "The number of TIME_WAIT sockets (and of orphaned FIN_WAIT2, which share the limit) "
            "has "
            "reached net.ipv4.tcp_max_tw_buckets. The kernel closes further connections without "
            "TIME_WAIT. Nothing is refused; late segments may reach a newer connection. Newer "
            "kernels only count it (TCPTimeWaitOverflow). Each network namespace has its own "
            "limit.",
            "TIME_WAIT（以及共用上限的孤儿 FIN_WAIT2）数量达到 net.ipv4.tcp_max_tw_buckets。之后"
            "的连接"
            "直接关闭，不进入 TIME_WAIT。不会拒绝连接，但迟到的报文可能被新连接误收。新内核不再打"
            "印，只计数"
            "（TCPTimeWaitOverflow）。每个网络命名空间有各自的上限。",
        ),
        see=(
            "grep TCP: /proc/net/sockstat",
            "sysctl net.ipv4.tcp_max_tw_buckets",
            "sockmon count --state time_wait --by direction,port",
        ),
        wrong=Text(
            "Setting tcp_max_tw_buckets to 5000 or 20000, as tuning guides do, is what causes this "
            "line: the default is one for each 256 KiB of memory, 131072 on 32 GiB. Raise it, or "
            "close less often.",
            "不少“优化”文章把 tcp_max_tw_buckets 设成 5000 或 20000，这正是出现这行日志的原因：默"
            "认值是每 "
            "256 KiB 内存一个，32 GiB 的主机为 131072。应当调大它，或者减少关闭次数。",
        ),
        runbook="SockmonTimeWaitPressure",
    ),
    Symptom(
        names=(
            "possible SYN flooding on port",
            "Sending cookies",
            "request_sock_TCP",
            "TCPReqQFullDoCookies",
            "TCPReqQFullDrop",
        ),
        what=Text(
            "A listening socket has as many half-open connections as its backlog has room for, so "
            "the kernel answers with SYN cookies (or drops SYNs, if tcp_syncookies is 0). It "
            "prints "
            "this once for each listening socket, not each time. It need not be an attack: a burst "
            "of clients and a small backlog do the same, and so does an application that does not "
            "accept().",
            "某个监听 socket 的半连接数达到 backlog，内核改用 SYN cookie 应答（tcp_syncookies 为 "
            "0 时直接丢弃 "
            "SYN）。每个监听 socket 只打印一次，不是每次都打印。不一定是攻击：突发连接遇上很小的 "
            "backlog，或者应用"
            "不 accept()，结果一样。",
        ),
        see=(
            "sockmon count --state syn_recv --by port,peer --top 20",
            "nstat -az TcpExtTCPReqQFullDoCookies TcpExtTCPReqQFullDrop TcpExtSyncookiesFailed",
            "ss -tln",
        ),
        wrong=Text(
            "Raising net.ipv4.tcp_max_syn_backlog alone changes nothing while tcp_syncookies is 1: "
            "then the limit is the lesser of listen()'s backlog and net.core.somaxconn. Never "
            "switch cookies off to silence the line.",
            "tcp_syncookies 为 1 时，只调大 net.ipv4.tcp_max_syn_backlog 没有作用：上限是 "
            "listen() 的 "
            "backlog 和 net.core.somaxconn 中较小的一个。不要为了消除日志而关闭 SYN cookie。",
        ),
        runbook="SockmonSynBacklog",
    ),
    Symptom(
        names=("SYN queue overflow", "半连接队列溢出", "半连接队列 溢出", "半连接队列满"),
        what=Text(
            "The SYN queue (half-open connections, SYN_RECV) of a listening socket is full. Linux "
            "counts it against the same limit as the accept queue. With tcp_syncookies = 1 (the "
            "default) clients still get in; without, SYNs are dropped and clients retry after 1, "
            "3, 7 s.",
            "监听 socket 的半连接队列（SYN_RECV）满了。Linux 用与全连接队列相同的上限来判断。"
            "tcp_syncookies = 1"
            "（默认）时客户端仍能连上；为 0 时 SYN 被丢弃，客户端在 1、3、7 秒后重试。",
        ),
        see=(
            "sockmon count --state syn_recv --by port",
            "nstat -az TcpExtTCPReqQFullDrop TcpExtTCPReqQFullDoCookies",
        ),
        wrong=Text(
            "Articles about old kernels compute the size from tcp_max_syn_backlog, rounded to a "
            "power of two. Since Linux 4.4 it is the listener's backlog, bounded by somaxconn; "
            "tcp_max_syn_backlog counts only while tcp_syncookies is 0.",
            "旧内核的文章用 tcp_max_syn_backlog 取 2 的幂来计算大小，4.4 以后不是这样：取监听 "
            "socket 的 "
            "backlog，以 somaxconn 为上限；tcp_max_syn_backlog 只在 tcp_syncookies 为 0 时起作用。",
        ),
        runbook="SockmonSynBacklog",
    ),
    Symptom(
        names=(
            "times the listen queue of a socket overflowed",
            "the listen queue of a socket overflowed",
            "ListenOverflows",
        ),
        what=Text(
            "netstat -s counts connections that were dropped because a listening socket's accept "
            "queue was full: the application does not call accept() fast enough. The number is a "
            "sum since boot over all ports of the network namespace; what matters is whether it "
            "rises. `sockmon doctor` names the port.",
            "netstat -s 统计因全连接队列满而丢弃的连接：应用 accept() 不够快。这个数是开机以来本"
            "网络命名空间全部"
            "端口的累计值，要看的是它是否还在增长。`sockmon doctor` 会指出是哪个端口。",
        ),
        see=(
            "sockmon doctor",
            "nstat -az TcpExtListenOverflows TcpExtListenDrops",
            "ss -tln",
        ),
        wrong=Text(
            "Raising net.core.somaxconn alone does nothing: the application asks for its own "
            "backlog with listen() (nginx 511, many others 128), and must be restarted with a "
            "larger one. For a stuck application no queue is long enough. "
            "tcp_abort_on_overflow=1 only turns waiting into resets.",
            "只调大 net.core.somaxconn 没有用：应用通过 listen() 指定自己的 backlog（nginx 511，"
            "很多程序 "
            "128），要改应用配置并重启。应用卡住时多大的队列都不够。tcp_abort_on_overflow=1 只是"
            "把等待变成 RST。",
        ),
        runbook="SockmonAcceptQueue",
    ),
    Symptom(
        names=("SYNs to LISTEN sockets dropped", "ListenDrops"),
        what=Text(
            "netstat -s counts SYNs and last ACKs that a listening socket did not take, for any "
            "reason: a full accept queue (that part is in ListenOverflows too), no memory, a full "
            "SYN queue without cookies. If both counters rise alike, it is the accept queue.",
            "netstat -s 统计监听 socket 没有接收的 SYN 和握手 ACK，包含各种原因：全连接队列满（这"
            "部分同时计入 "
            "ListenOverflows）、内存不足、半连接队列满且没有 SYN cookie。两个计数器同步增长就是全"
            "连接队列满。",
        ),
        see=("nstat -az TcpExtListenOverflows TcpExtListenDrops TcpExtTCPReqQFullDrop", "ss -tln"),
        runbook="SockmonAcceptQueue",
    ),
    Symptom(
        names=("accept queue overflow", "全连接队列溢出", "全连接队列 溢出", "全连接队列满"),
        what=Text(
            "The accept queue of a listening socket is full: handshakes have finished, and the "
            "application has not called accept(). In `ss -tln` of a listening socket Recv-Q is the "
            "queue's length and Send-Q its limit, the lesser of listen()'s backlog and somaxconn. "
            "The kernel drops what arrives, so clients see connects of 1, 3, 7 s.",
            "监听 socket 的全连接队列满了：握手已完成，应用没有调用 accept()。`ss -tln` 里监听 "
            "socket 的 Recv-Q "
            "是当前长度，Send-Q 是上限（listen() 的 backlog 与 somaxconn 中较小者）。内核丢弃后来"
            "的包，客户端"
            "看到 connect 耗时 1、3、7 秒。",
        ),
        see=(
            "ss -tlnp",
            "nstat -az TcpExtListenOverflows",
            "sockmon count --state listen --by listener",
        ),
        wrong=Text(
            "A longer queue helps against bursts only. If Recv-Q stays at its limit, the "
            "application is stuck or too small: look at its threads first.",
            "调大队列只对瞬时突发有用。Recv-Q 一直顶着上限，说明应用卡住或容量不足：先看它的线程。",
        ),
        runbook="SockmonAcceptQueue",
    ),
    Symptom(
        names=("Connection timed out", "ETIMEDOUT", "110: Connection timed out", "连接超时"),
        what=Text(
            "From connect(): nobody answered the SYN, for about two minutes "
            "(net.ipv4.tcp_syn_retries). The host or the path is down, a firewall drops the SYN, "
            "or "
            "the listener's accept queue is full; a closed port would have refused at once. From "
            "read() or write(): the peer has not acknowledged for about 15 minutes (tcp_retries2), "
            "or TCP_USER_TIMEOUT or the keepalive probes have run out.",
            "connect() 返回：约两分钟没有人应答 SYN（net.ipv4.tcp_syn_retries）。主机或网络不通、"
            "防火墙丢弃 "
            "SYN，或对方的全连接队列满；端口没有监听会立即被拒绝。read()/write() 返回：对端约 15 "
            "分钟没有确认"
            "（tcp_retries2），或 TCP_USER_TIMEOUT、keepalive 探测次数用尽。",
        ),
        see=(
            "sockmon count --state syn_sent --by peer",
            "sockmon doctor",
            "ss -tnpo state syn-sent",
            "nstat -az TcpExtTCPTimeouts TcpExtTCPAbortOnTimeout",
        ),
        wrong=Text(
            "A larger timeout hides it. Lowering tcp_syn_retries affects every program of the "
            "host: give the application a connect timeout of its own. net.ipv4.tcp_keepalive_time "
            "acts only on sockets with SO_KEEPALIVE.",
            "调大超时只是掩盖问题。调小 tcp_syn_retries 会影响全机所有程序：应给应用自己设连接超"
            "时。"
            "net.ipv4.tcp_keepalive_time 只对设置了 SO_KEEPALIVE 的 socket 有效。",
        ),
        runbook="SockmonConnectStalled",
    ),
    Symptom(
        names=(
            "Connection reset by peer",
            "ECONNRESET",
            "104: Connection reset by peer",
            "Connection reset",
            "连接被重置",
            "连接被对端重置",
            "连接被对方重设",
        ),
        what=Text(
            "A reset (RST) came from the other end, or from a device between. Usual causes: its "
            "process closed while data that it had not read was waiting, or ended; it set "
            "SO_LINGER to 0; a server closed an idle keep-alive connection in the moment in which "
            "the client used it; a firewall or load balancer had forgotten the connection.",
            "收到了对端（或中间设备）发来的 RST。常见原因：对端进程在还有未读数据时关闭，或进程退"
            "出；对端设置了 "
            "SO_LINGER 0；服务端关闭空闲长连接的同时客户端正好在用；防火墙或负载均衡已丢掉会话。",
        ),
        see=(
            "nstat -az TcpEstabResets TcpOutRsts",
            "sockmon trace --closes --for 30s",
        ),
        wrong=Text(
            "No sysctl prevents it. For keep-alive, make the client's idle timeout shorter than "
            "the server's; retries hide everything else.",
            "没有内核参数能避免。长连接场景下，把客户端的空闲超时设得比服务端短；其他情况靠重试只"
            "会掩盖问题。",
        ),
        runbook="SockmonResetBurst",
    ),
    Symptom(
        names=("Broken pipe", "EPIPE", "32: Broken pipe", "SIGPIPE"),
        what=Text(
            "The process wrote to a connection that a reset had already ended, or whose sending "
            "side it had shut down. The first write after the peer's close() still succeeds and "
            "provokes the reset; the next one fails with EPIPE. In a web server's log: the client "
            "went away before it had the whole answer.",
            "进程向一条已被 RST 结束、或自己已 shutdown 发送方向的连接写数据。对端 close() 后第一"
            "次写仍会成功，并"
            "引来 RST；下一次写才返回 EPIPE。Web 服务器日志里出现它：客户端没等响应发完就走了。",
        ),
        see=("sockmon trace --closes --for 30s", "nstat -az TcpEstabResets TcpOutRsts"),
        wrong=Text(
            "It is no fault of the network, and larger buffers do not help. Look at the client's "
            "timeout, and at how long the answer takes.",
            "不是网络问题，调大缓冲区也没用。查客户端的超时，以及响应为什么这么慢。",
        ),
    ),
    Symptom(
        names=(
            "Cannot assign requested address",
            "EADDRNOTAVAIL",
            "99: Cannot assign requested address",
            "ephemeral port exhaustion",
            "port exhaustion",
            "无法指定被请求的地址",
            "端口耗尽",
            "端口用完",
            "端口不够用",
        ),
        what=Text(
            "From connect(): no local port is left towards this destination (address and port). "
            "Most often a client opens a connection for each request and closes it first, so that "
            "TIME_WAIT holds the ports. Other destinations still work. From bind(): the address is "
            "none of this host's.",
            "connect() 返回：到这个目的地址和端口的本地端口用完了。最常见的是客户端每个请求新建连"
            "接并主动关闭，"
            "端口都被 TIME_WAIT 占着。其他目的地址不受影响。bind() 返回：这个地址不在本机上。",
        ),
        see=(
            "sockmon doctor",
            "sockmon count --by state,peer --top 10",
            "sysctl net.ipv4.ip_local_port_range net.ipv4.tcp_tw_reuse",
        ),
        wrong=Text(
            "tcp_fin_timeout does not shorten TIME_WAIT, and tcp_tw_recycle is gone since Linux "
            "4.12. What helps: a connection pool; a wider ip_local_port_range; tcp_tw_reuse=1, "
            "which is about just these connections; a second destination address.",
            "tcp_fin_timeout 不会缩短 TIME_WAIT，tcp_tw_recycle 在 Linux 4.12 已删除。有效的办"
            "法：连接池；"
            "扩大 ip_local_port_range；tcp_tw_reuse=1（正是针对这类连接）；增加一个目的地址。",
        ),
        runbook="SockmonEphemeralPortPressure",
    ),
    Symptom(
        names=(
            "Address already in use",
            "EADDRINUSE",
            "98: Address already in use",
            "SO_REUSEADDR",
            "地址已在使用",
        ),
        what=Text(
            "From bind() or listen() of a port: another socket listens there, or connections of "
            "the earlier process are still in TIME_WAIT and the new one did not set SO_REUSEADDR. "
            "From bind() to port 0, before connect(): all local ports are taken by bind().",
            "bind()/listen() 某个端口返回：已有 socket 在监听，或者旧进程的连接还在 TIME_WAIT，而"
            "新进程没有设置 "
            "SO_REUSEADDR。connect() 之前 bind() 端口 0 返回：本地端口已全部被 bind() 占用。",
        ),
        see=("ss -tlnp", "sockmon count --state listen --by listener,owner", "sockmon doctor"),
        wrong=Text(
            "Do not wait for TIME_WAIT, and do not shorten it by sysctl (nothing does): a server "
            "sets SO_REUSEADDR before bind(). A client sets IP_BIND_ADDRESS_NO_PORT.",
            "不用等 TIME_WAIT 结束，也没有参数能缩短它：服务端在 bind() 之前设置 SO_REUSEADDR；客"
            "户端设置 "
            "IP_BIND_ADDRESS_NO_PORT。",
        ),
        runbook="SockmonEphemeralPortPressure",
    ),
    Symptom(
        names=(
            "Too many open files",
            "EMFILE",
            "ENFILE",
            "24: Too many open files",
            "打开的文件过多",
        ),
        what=Text(
            "The process has as many file descriptors as RLIMIT_NOFILE allows (EMFILE), so "
            "accept(), connect() and open() fail. With sockets it is most often a CLOSE_WAIT leak, "
            "or a pool without a bound. 'Too many open files in system' (ENFILE) is the host's "
            "limit, fs.file-max.",
            "进程的文件描述符达到 RLIMIT_NOFILE（EMFILE），accept()、connect()、open() 都会失败。"
            "和 socket "
            "有关时，多半是 CLOSE_WAIT 泄漏，或没有上限的连接池。“Too many open files in system”"
            "（ENFILE）"
            "是全机上限 fs.file-max。",
        ),
        see=(
            "sockmon doctor",
            "sockmon count --by owner,state --top 10",
            "ls /proc/PID/fd | wc -l; grep 'open files' /proc/PID/limits",
        ),
        wrong=Text(
            "A higher limit only delays a leak. `ulimit -n` in a shell and limits.conf do not "
            "reach "
            "a systemd service: LimitNOFILE= in its unit does; prlimit(1) changes a running "
            "process.",
            "泄漏时调高上限只是拖延。shell 里的 `ulimit -n` 和 limits.conf 对 systemd 服务不生"
            "效：要用 unit 里的 "
            "LimitNOFILE=；运行中的进程用 prlimit(1) 修改。",
        ),
        runbook="SockmonDescriptorPressure",
    ),
    Symptom(
        names=(
            "nf_conntrack: table full",
            "table full, dropping packet",
            "ip_conntrack: table full",
        ),
        what=Text(
            "The firewall's table of connections has net.netfilter.nf_conntrack_max entries. The "
            "first packet of every new connection is dropped, in and out: connects time out, while "
            "open connections work.",
            "防火墙的连接跟踪表达到 net.netfilter.nf_conntrack_max。每条新连接的首包都被丢弃，出"
            "入都一样：新建"
            "连接超时，已有连接正常。",
        ),
        see=(
            "sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max",
            "conntrack -S",
            "sockmon doctor",
        ),
        wrong=Text(
            "nf_conntrack_max alone makes long hash chains: raise nf_conntrack_buckets with it. "
            "The counters of netstat -s and ss do not show these drops.",
            "只调大 nf_conntrack_max 会让哈希链变长：nf_conntrack_buckets 要一起调大。netstat -s "
            "和 ss 都看不到"
            "这些丢包。",
        ),
        runbook="SockmonConntrackPressure",
    ),
    Symptom(
        names=(
            "Resource temporarily unavailable",
            "EAGAIN",
            "11: Resource temporarily unavailable",
            "EWOULDBLOCK",
            "资源暂时不可用",
        ),
        what=Text(
            "On a non-blocking socket it says only that there is nothing to read, or no room to "
            "write: no error. From connect() to a Unix socket (nginx to php-fpm: connect() to "
            "unix:... failed (11: Resource temporarily unavailable)) it says that the server's "
            "accept queue is full. From read() with SO_RCVTIMEO: that time is over.",
            "非阻塞 socket 上只表示暂时没有数据可读或没有空间可写，不是错误。connect() Unix "
            "socket 时返回它"
            "（nginx 连 php-fpm：connect() to unix:... failed (11: Resource temporarily "
            "unavailable)），表示服务端的全连接队列满。设置了 SO_RCVTIMEO 的 read() 返回它：超时。",
        ),
        see=("sockmon doctor", "ss -xl", "sockmon count --protocol unix --by listener"),
        wrong=Text(
            "For php-fpm a larger listen.backlog helps against bursts only; if the queue stays "
            "full, there are too few workers (pm.max_children) or they are stuck.",
            "php-fpm 调大 listen.backlog 只对突发有用；队列一直是满的，说明 worker 太少（"
            "pm.max_children）或卡住。",
        ),
        runbook="SockmonAcceptQueue",
    ),
    Symptom(
        names=("Connection refused", "ECONNREFUSED", "111: Connection refused", "拒绝连接"),
        what=Text(
            "The host answered the SYN with a reset: nobody listens at this address and port "
            "there, or a firewall rejects it (REJECT --reject-with tcp-reset). The network works.",
            "对方主机用 RST 应答了 SYN：那个地址和端口没有监听，或防火墙主动拒绝（REJECT "
            "--reject-with "
            "tcp-reset）。网络是通的。",
        ),
        see=("ss -tln", "sockmon count --state listen --by listener"),
        runbook="SockmonConnectFailures",
    ),
    Symptom(
        names=("CLOSE_WAIT comes and goes", "CLOSE_WAIT 忽高忽低"),
        what=Text(
            "The application does close its connections, but seconds after their peers have: it is "
            "busy, or has a request to finish. That is no leak. It holds descriptors longer than "
            "needed, and under load a pool may run out.",
            "应用会关闭连接，但比对端晚了几秒：它正忙，或要先处理完请求。这不是泄漏，只是 fd 占用"
            "时间变长，"
            "高负载时连接池可能不够用。",
        ),
        see=("sockmon count --state close_wait --by port,owner --watch",),
        runbook="SockmonSlowClose",
    ),
    Symptom(
        names=("too many orphaned sockets", "TCP: too many orphaned sockets", "孤儿 socket"),
        what=Text(
            "More sockets than net.ipv4.tcp_max_orphans allows have been closed by their processes "
            "and still wait for the peer's acknowledgement; the kernel resets some. It begins at a "
            "quarter of the limit.",
            "已被进程关闭、还在等对端确认的 socket 超过 net.ipv4.tcp_max_orphans，内核直接 RST 其"
            "中一部分。达到"
            "上限的四分之一就可能开始。",
        ),
        see=("grep TCP: /proc/net/sockstat", "sysctl net.ipv4.tcp_max_orphans", "sockmon doctor"),
        runbook="SockmonOrphanPressure",
    ),
    Symptom(
        names=("out of memory -- consider tuning tcp_mem", "TCP: out of memory"),
        what=Text(
            "All TCP sockets together have more data queued than net.ipv4.tcp_mem's third number "
            "(in pages). The kernel drops segments and fails writes. Look for the queues that "
            "nobody reads, before you raise the limit.",
            "全部 TCP socket 排队的数据超过 net.ipv4.tcp_mem 的第三个数（单位：页）。内核丢弃报"
            "文、写入失败。先找"
            "没有人读的队列，再考虑调大上限。",
        ),
        see=("grep TCP: /proc/net/sockstat", "sysctl net.ipv4.tcp_mem", "sockmon doctor"),
        runbook="SockmonTcpMemoryPressure",
    ),
    Symptom(
        names=("receive buffer errors", "packet receive errors", "RcvbufErrors", "UdpRcvbufErrors"),
        what=Text(
            "netstat -s counts UDP datagrams that were dropped because their socket's receive "
            "buffer was full: the application reads too slowly. `sockmon doctor` names the port.",
            "netstat -s 统计因接收缓冲区满而丢弃的 UDP 数据报：应用读得太慢。`sockmon doctor` 会"
            "指出端口。",
        ),
        see=("nstat -az UdpRcvbufErrors UdpInErrors", "ss -unlpm", "sockmon doctor"),
        runbook="SockmonUdpDrops",
    ),
    Symptom(
        names=("Recv-Q is not 0", "Recv-Q 不为 0", "Recv-Q"),
        what=Text(
            "Of a connection: bytes that have come in and that the application has not read. A "
            "number that stays for a minute means that the application is stuck. In CLOSE_WAIT the "
            "peer's FIN counts as one. Of a listening socket: connections that wait for accept().",
            "普通连接：已到达、应用还没读的字节数。持续一分钟不变，说明应用卡住。CLOSE_WAIT 里对"
            "端的 FIN 计为 1。"
            "监听 socket：等待 accept() 的连接数。",
        ),
        see=("sockmon doctor", "ss -tnpm state established"),
        wrong=Text("Larger buffers (tcp_rmem) only delay it.", "调大缓冲区（tcp_rmem）只是拖延。"),
        runbook="SockmonUnreadData",
    ),
    Symptom(
        names=("Send-Q is not 0", "Send-Q 不为 0", "Send-Q", "zero window", "零窗口"),
        what=Text(
            "Of a connection: bytes that were sent or wait to be sent, and that the peer has not "
            "acknowledged. If the kernel probes (timer:persist in ss), the peer's window is "
            "closed: its application does not read. If it retransmits (timer:on), the peer or the "
            "path does not answer. Of a listening socket: the limit of its accept queue.",
            "普通连接：已发送或等待发送、对端还没确认的字节数。内核在探测（ss 里 "
            "timer:persist）：对端接收窗口"
            "为 0，是对端应用不读。内核在重传（timer:on）：对端或网络没有应答。监听 socket：全连"
            "接队列的上限。",
        ),
        see=("sockmon doctor", "ss -tnpo state established"),
        wrong=Text("Larger buffers (tcp_wmem) only delay it.", "调大缓冲区（tcp_wmem）只是拖延。"),
        runbook="SockmonUnsentData",
    ),
)
