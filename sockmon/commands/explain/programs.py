"""What servers, clients and connection pools write when a connection goes wrong."""

from sockmon.commands.explain.symptom import Symptom
from sockmon.language import Text

PROGRAMS: tuple[Symptom, ...] = (
    Symptom(
        names=(
            "upstream timed out",
            "upstream timed out (110: Connection timed out)",
            "504 Gateway Time-out",
            "504 Gateway Timeout",
        ),
        what=Text(
            "nginx's own timers, 60 s by default; the 110 is nginx's, not the kernel's. While "
            "connecting to upstream (proxy_connect_timeout): the SYN was not answered, or the "
            "upstream's accept queue is full. While reading response header "
            "(proxy_read_timeout, fastcgi_read_timeout): the connection is established and the "
            "upstream has not answered the request. It is slow or stuck; the network works.",
            "这是 nginx 自己的定时器（默认 60 秒），110 由 nginx 填写，不是内核返回的。while "
            "connecting to upstream（proxy_connect_timeout）：SYN 没有应答，或后端的全连接队列满。"
            "while reading response header（proxy_read_timeout、fastcgi_read_timeout）：连接已建"
            "立，"
            "后端迟迟没有返回。是后端慢或卡住，网络没有问题。",
        ),
        see=(
            "sockmon doctor",
            "sockmon count --state syn_sent,established --by state,peer --top 10",
            "ss -tln",
        ),
        wrong=Text(
            "Larger proxy_*_timeout let more requests wait for the same stuck upstream, and hold a "
            "connection each.",
            "调大 proxy_*_timeout 只会让更多请求一起等卡住的后端，每个请求还多占一条连接。",
        ),
        runbook="SockmonConnectStalled",
    ),
    Symptom(
        names=("no live upstreams", "no live upstreams while connecting to upstream"),
        what=Text(
            "nginx has given up on all servers of an upstream block for fail_timeout (10 s), each "
            "after max_fails (1) failures, and answers 502 without trying. It is a consequence: "
            "the cause is in the error log just before, most often `connect() failed` or "
            "`upstream timed out`.",
            "upstream 里的服务器都因失败次数达到 max_fails（默认 1）被 nginx 暂停使用 "
            "fail_timeout（默认 10 秒），这期间 nginx 不再尝试，直接返回 502。这只是结果：原因在 "
            "error log 里更早的几行，多半是 connect() failed 或 upstream timed out。",
        ),
        see=(
            "grep -B 20 'no live upstreams' /var/log/nginx/error.log",
            "sockmon doctor",
            "sockmon count --state syn_sent --by peer",
        ),
        wrong=Text(
            "max_fails=0 stops the message; then every request waits for the server that is down.",
            "设 max_fails=0 可以让这行日志消失，但之后每个请求都要去等那台坏掉的服务器。",
        ),
        runbook="SockmonConnectStalled",
    ),
    Symptom(
        names=(
            "upstream prematurely closed connection",
            "upstream sent no valid HTTP/1.0 header",
            "502 Bad Gateway",
        ),
        what=Text(
            "The upstream accepted the request and closed the connection before it had answered: "
            "its worker ended (crash, out of memory, its own request timeout), or it closed an "
            "idle keep-alive connection in the moment in which nginx used it.",
            "后端接收了请求，没返回完就关闭了连接：worker 退出（崩溃、OOM、自身的请求超时），"
            "或者它正好在 nginx 复用空闲长连接的那一刻关闭了这条连接。",
        ),
        see=(
            "sockmon trace --closes --for 30s",
            "journalctl -k --grep 'out of memory|segfault' --since -1h",
        ),
        wrong=Text(
            "Larger proxy buffers do not help. For keep-alive, the upstream's idle timeout must be "
            "longer than nginx's keepalive_timeout in the upstream block.",
            "调大 proxy buffer 没用。长连接场景下，后端的空闲超时要比 nginx 的 upstream 块里的 "
            "keepalive_timeout 长。",
        ),
        runbook="SockmonResetBurst",
    ),
    Symptom(
        names=(
            "socket hang up",
            "Remote end closed connection without response",
            "Empty reply from server",
            "NoHttpResponseException",
            "failed to respond",
            "server closed idle connection",
            "server has gone away",
            "Lost connection to MySQL server",
        ),
        what=Text(
            "The server closed the connection before a whole answer had come. If it happens now "
            "and then and a retry works, the client used a keep-alive connection just when the "
            "server's idle timeout closed it. If always, the server ends: look at its log.",
            "服务端在响应完成前关闭了连接。偶尔出现、重试就好：客户端复用长连接时，服务端的空闲"
            "超时正好把它关闭。每次都出现：服务端进程异常，查它的日志。",
        ),
        see=(
            "sockmon trace --closes --for 30s",
            "nstat -az TcpEstabResets TcpOutRsts",
        ),
        wrong=Text(
            "No sysctl prevents it. Make the client's idle timeout shorter than the server's "
            "(Node.js servers close after 5 s: server.keepAliveTimeout).",
            "没有内核参数能避免。让客户端的空闲超时比服务端短（Node.js 服务端默认 5 秒就关闭："
            "server.keepAliveTimeout）。",
        ),
        runbook="SockmonResetBurst",
    ),
    Symptom(
        names=(
            "i/o timeout",
            "context deadline exceeded",
            "SocketTimeoutException",
            "Read timed out",
            "connect timed out",
            "socket.timeout",
            "timed out",
            "读取超时",
        ),
        what=Text(
            "A timeout of the program itself, shorter than the kernel's. In a dial or connect: "
            "nobody answered the SYN in that time (SYN_SENT); retries come after 1, 3, 7 s, so a "
            "timeout of 1 s allows for no lost SYN. In a read: the connection is established and "
            "the peer has sent nothing; the peer is slow or stuck, or has gone without a FIN.",
            "程序自己设的超时，比内核的短。发生在 dial/connect：这段时间里 SYN 没有应答"
            "（SYN_SENT）；SYN 在 1、3、7 秒重传，超时设 1 秒就容不得丢一个 SYN。发生在 read："
            "连接已建立，对端没有发来数据：对端慢、卡住，或没发 FIN 就消失了。",
        ),
        see=(
            "sockmon doctor",
            "sockmon count --state syn_sent --by peer",
            "ss -tnpo state established",
        ),
        runbook="SockmonConnectStalled",
    ),
    Symptom(
        names=(
            "connection pool exhausted",
            "connection pool timeout",
            "Connection is not available, request timed out",
            "Timeout waiting for connection from pool",
            "Could not get a resource from the pool",
            "QueuePool limit of size",
            "Connection pool is full",
            "连接池耗尽",
            "连接池满",
            "连接池用完",
        ),
        what=Text(
            "The limit of a pool inside the program, not one of the kernel. Its connections are "
            "all in use: by requests that wait for a slow server (ESTABLISHED), because code does "
            "not give them back, or dead ones are not removed (CLOSE_WAIT). sockmon shows which.",
            "这是程序内连接池的上限，不是内核的。池里的连接都被占着：后端慢，请求都在等"
            "（ESTABLISHED）；代码借了不还；或失效的连接没有清理（CLOSE_WAIT）。看状态就能分清。",
        ),
        see=(
            "sockmon doctor",
            "sockmon count --by owner,peer,state --top 10",
        ),
        wrong=Text(
            "A larger pool helps if the server can do more at a time. If it is the bottleneck, or "
            "connections leak, it only moves the failure.",
            "只有后端还有余力时，调大连接池才有用。后端本身是瓶颈，或连接有泄漏，调大只是推迟故"
            "障。",
        ),
        runbook="SockmonCloseWaitLeak",
    ),
    Symptom(
        names=(
            "too many connections",
            "too many clients already",
            "max number of clients reached",
            "连接数过多",
            "连接数过高",
            "连接数太多",
            "TCP 连接数高",
        ),
        what=Text(
            "Linux has no limit on the number of connections as such: what runs out is a process's "
            "descriptors, local ports towards one destination, the conntrack table, or a limit of "
            "the server program (MySQL max_connections, PostgreSQL max_connections, Redis "
            "maxclients). First see which state and which service they are.",
            "Linux 没有“连接数”这个上限：先用完的是进程的 fd、到同一目的地址的本地端口、conntrack "
            "表，或服务自己的上限（MySQL/PostgreSQL 的 max_connections、Redis 的 maxclients）。先看"
            "这些连接处于什么状态、属于哪个服务。",
        ),
        see=(
            "sockmon doctor",
            "sockmon count --by owner,state --top 10",
            "sockmon count --by peer,port --top 10",
        ),
        wrong=Text(
            "Sysctl collections for 'high concurrency' treat no cause: they differ for CLOSE_WAIT "
            "(the application), TIME_WAIT (who closes first) and ESTABLISHED (who connects).",
            "网上的“高并发内核参数”大全治不了根因：CLOSE_WAIT 要改应用，TIME_WAIT 要看谁先关闭，"
            "ESTABLISHED 要看是谁连进来的。",
        ),
    ),
    Symptom(
        names=("worker_connections are not enough", "worker_connections exceed"),
        what=Text(
            "nginx's own limit for each worker. It counts connections to clients and to upstreams: "
            "as a proxy, each request takes two. If the number of requests has not grown, they are "
            "waiting for a slow upstream.",
            "nginx 每个 worker 的上限，客户端连接和后端连接都算：做反向代理时一个请求占两条。"
            "请求量没有增长的话，就是在等慢的后端。",
        ),
        see=("sockmon count --by state,peer --top 10", "sockmon doctor"),
        wrong=Text(
            "worker_connections above worker_rlimit_nofile only changes the error to 'Too many "
            "open files'.",
            "worker_connections 超过 worker_rlimit_nofile，只会换成报 Too many open files。",
        ),
        runbook="SockmonDescriptorPressure",
    ),
    Symptom(
        names=(
            "No route to host",
            "EHOSTUNREACH",
            "113: No route to host",
            "没有到主机的路由",
        ),
        what=Text(
            "An ICMP message said that the host is unreachable, or the neighbour did not answer "
            "ARP: the host is down or not in this subnet. A firewall that rejects with "
            "icmp-host-prohibited or admin-prohibited (firewalld) says the same of a closed port.",
            "收到 ICMP 主机不可达，或 ARP 没有应答：主机关机或不在这个网段。防火墙用 "
            "icmp-host-prohibited 或 admin-prohibited 拒绝（firewalld 默认）时，端口没放行也报这"
            "个错。",
        ),
        see=("ip route get 192.0.2.1", "ip neigh", "sockmon trace --opens --for 30s"),
        wrong=Text(
            "The route is seldom missing: that is ENETUNREACH, 'Network is unreachable'.",
            "多半不是缺路由：缺路由报的是 ENETUNREACH（Network is unreachable）。",
        ),
        runbook="SockmonConnectFailures",
    ),
    Symptom(
        names=(
            "Network is unreachable",
            "ENETUNREACH",
            "101: Network is unreachable",
            "网络不可达",
        ),
        what=Text(
            "This host has no route to the address, and sends nothing. Most often the name has an "
            "IPv6 address and the host has no IPv6 route; or a container has no default route.",
            "本机没有到这个地址的路由，一个包都没有发出。常见情况：域名解析出 IPv6 地址，而本机没"
            "有 "
            "IPv6 路由；或容器没有默认路由。",
        ),
        see=("ip route get 192.0.2.1", "ip -6 route"),
        runbook="SockmonConnectFailures",
    ),
)
