"""Ways to other hosts: gateways, firewalls, SNAT, proxies in between, hosts that are lost."""

import contextlib
import random
import select
import socket
import struct
import threading
import time
from dataclasses import replace

from sockmon.drill.lab.netns import CurrentNetNs, NetNs
from tests.cases.case import Expect, case
from tests.cases.stage import Stage, connect, deaf, every, listen
from tests.lab import Link, eventually
from tests.lab.packets import Segment, TcpFlag
from tests.lab.tunpeer import TunPeer, tun_peer

PLAY = r"tests\.cases\.play"
_ABORT = struct.pack("ii", 1, 0)
_IP_TRANSPARENT = 19
#: The hardware address of a Link's client.
_THERE = "02:00:00:00:77:01"


def call_again(address: str, port: int, timeout: float, pause: float) -> None:
    """Connect again and again, with a timeout, and a pause after each attempt."""
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection((address, port), timeout=timeout).close()
        time.sleep(pause)


def iptables(stage: Stage, rule: str, netns: NetNs | None = None) -> None:
    if stage.start("iptables", *rule.split(), netns=netns).wait() != 0:
        raise RuntimeError(f"iptables {rule}: {stage.logs()}")


def more_addresses(link: Link, numbers: range) -> None:
    """Give the other host of a link the addresses 10.77.0.N, too."""
    link.client.ip(*(f"addr add 10.77.0.{n}/24 dev eth0" for n in numbers))
    link.server.ip(
        *(f"neigh replace 10.77.0.{n} lladdr {_THERE} nud permanent dev eth0" for n in numbers)
    )


@case(
    Expect(
        "connect_stalled", "critical", PLAY, 443,
        summary=["nothing answers at 12 addresses, port 443", "none was established"],
        advice=["have in common", "ip route"],
    ),
    alone="addresses",
)  # fmt: skip
def wrong_gateway(stage: Stage) -> None:
    """The default route leads to a host that forwards nothing: twelve places, a caller each."""
    link = stage.peer()
    link.server.ip("route add default via 10.77.0.1")
    link.client.set_sysctl("net.ipv4.ip_forward", 0)
    for n in range(12):
        stage.thread(call_again, f"198.51.100.{n + 1}", 443, 10.0, 0.5)
        time.sleep(0.9)  # so that they are not all young at the same time


@case(Expect("connect_stalled", "critical", PLAY, 9042, summary=["nothing answers at 3 addresses"]))
def three_of_six_nodes_dead(stage: Stage) -> None:
    """A driver with six nodes, of which three are behind a firewall: three callers each."""
    link = stage.peer()
    more_addresses(link, range(10, 16))
    for n in range(10, 16):
        server = link.client.call(listen, 9042, f"10.77.0.{n}")
        stage.keep.append(server)
        if n < 13:
            deaf(server)
        for _ in range(3):
            if n < 13:
                stage.thread(call_again, f"10.77.0.{n}", 9042, 12.0, 1.0)
            else:
                stage.keep.append((connect(9042, f"10.77.0.{n}"), server.accept()))


@case(
    Expect("connect_stalled", "critical", PLAY, 5432, summary=[r"10\.77\.0\.99 port 5432"]),
    settled=40,
)
def host_off_the_link(stage: Stage) -> None:
    """A host of this network is off: EHOSTUNREACH after 3 s, and one client that tries again."""
    stage.peer()
    stage.thread(call_again, "10.77.0.99", 5432, 30.0, 1.0)


@case(
    Expect(
        "connect_stalled", "critical", PLAY, 8443, summary=["nothing answers at fd77::1 port 8443"]
    ),
    settled=40,
)
def ipv6_place_dead(stage: Stage) -> None:
    """A place behind an IPv6 firewall: three clients try for 3 s, and then wait for 10."""
    stage.peer().cut()
    for _ in range(3):
        stage.thread(call_again, "fd77::1", 8443, 3.0, 10.0)


@case(Expect("connect_stalled", None, r"^shop\.service$", 9200, summary=["every connect fails"]))
def java_behind_a_firewall(stage: Stage) -> None:
    """Java: ten threads connect with a timeout of 5 s, and this host's own firewall drops."""
    stage.peer()
    iptables(stage, "-A OUTPUT -p tcp --dport 9200 -j DROP")
    stage.write(
        "/srv/Client.java",
        """
import java.net.*;
public class Client {
  public static void main(String[] arguments) {
    for (int n = 0; n < 10; n++) new Thread(() -> {
      while (true) {
        try (Socket s = new Socket()) { s.connect(new InetSocketAddress("10.77.0.1", 9200), 5000); }
        catch (Exception e) { }
      }
    }).start();
  }
}
""",
    )
    stage.start("java", "/srv/Client.java", unit="shop.service")


def _far_away(stage: Stage, delay: float) -> None:
    """Make a host, 10.66.0.2, that answers each SYN and FIN so many seconds later."""
    manager = tun_peer(CurrentNetNs())
    stage.keep.append(manager)
    peer = manager.__enter__()
    answered: dict[int, int] = {}

    def answer() -> None:
        poll = select.poll()
        poll.register(peer.device, select.POLLIN)
        while True:
            poll.poll()
            segment = Segment.from_packet(peer.device.read(65535))
            if segment is None:
                continue
            if segment.flags == TcpFlag.SYN:
                if answered.get(segment.source_port) != segment.seq:  # else it is sent again
                    answered[segment.source_port] = segment.seq
                    _answer(peer, delay, segment, TcpFlag.SYN, 1000)
            elif TcpFlag.FIN in segment.flags:
                _answer(peer, delay, segment, TcpFlag.FIN, segment.ack)

    stage.thread(answer)


def _answer(peer: TunPeer, delay: float, segment: Segment, flag: TcpFlag, seq: int) -> None:
    answer = replace(
        segment,
        source=segment.destination,
        source_port=segment.destination_port,
        destination=segment.source,
        destination_port=segment.source_port,
        seq=seq,
        ack=(segment.seq + 1) % 2**32,
        flags=flag | TcpFlag.ACK,
    )
    threading.Timer(delay, peer.send, (answer,)).start()


@case(watched=240)
def health_checks_far_away(stage: Stage) -> None:
    """Checks of a place 250 ms away, one a second: SYN, SYN-ACK, and a reset."""
    _far_away(stage, 0.25)

    def check() -> None:
        for _ in every(1.0):
            client = socket.create_connection(("10.66.0.2", 8000))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            client.close()

    stage.thread(check)


@case(
    Expect(
        "connect_stalled", "warning", PLAY, 8000,
        summary=["answers at port 8000 late, or not each time"], never=["does not answer"],
    ),
    within=300,
)  # fmt: skip
def slow_network(stage: Stage) -> None:
    """A place whose answers take 3.5 s: sixty connects at a time, all of which succeed."""
    _far_away(stage, 3.5)

    def call(n: int) -> None:
        time.sleep(n / 15)
        while True:
            client = socket.create_connection(("10.66.0.2", 8000))
            time.sleep(0.5)
            client.close()

    for n in range(60):
        stage.thread(call, n)


@case(
    Expect(
        "connect_stalled", "warning", r"^shop\.service$", 8443, summary=["late, or not each time"],
        advice=["its accept queue overflows"],
    ),
    within=300,
)  # fmt: skip
def upstream_accepts_some(stage: Stage) -> None:
    """The upstream's accept queue overflows: some connect at once, others by their third SYN."""
    link = stage.peer()
    server = link.client.call(listen, 8443, "10.77.0.1", backlog=4)

    def accept() -> None:
        for _ in every(0.3):
            server.accept()[0].close()

    stage.thread(accept)
    stage.python(
        "shop.py",
        """
import socket, threading
def call():
    while True:
        try:
            with socket.create_connection(("10.77.0.1", 8443), timeout=10) as client:
                client.settimeout(10)
                client.recv(10)
        except OSError:
            pass
for _ in range(25):
    threading.Thread(target=call).start()
""",
        unit="shop.service",
    )


@case(watched=180)
def crawler(stage: Stage) -> None:
    """A crawler calls 250 hosts, a connection each; one in seven calls is to a dead one."""
    link = stage.peer()
    link.server.ip("route add 198.51.0.0/16 via 10.77.0.1")
    link.client.ip("route add local 198.51.100.0/24 dev lo")
    link.client.set_sysctl("net.ipv4.ip_forward", 0)
    server = link.client.call(listen, 443, "0.0.0.0", backlog=300)

    def serve() -> None:
        while True:
            threading.Timer(1.0, server.accept()[0].close).start()

    def crawl() -> None:
        chance = random.Random(threading.get_ident())
        while True:
            network = "198.51.101" if chance.random() < 0.15 else "198.51.100"
            host = f"{network}.{chance.randrange(1, 250)}"
            with (
                contextlib.suppress(OSError),
                socket.create_connection((host, 443), timeout=10) as client,
            ):
                client.recv(10)

    stage.thread(serve)
    for _ in range(40):
        stage.thread(crawl)


@case(watched=180)
def lossy_link(stage: Stage) -> None:
    """A link that loses every fifth packet each way: all takes longer, and succeeds."""
    link = stage.peer()
    for netns in (link.client, link.server):
        iptables(
            stage, "-A INPUT -i eth0 -m statistic --mode random --probability 0.2 -j DROP", netns
        )
    server = link.client.call(listen, 8080, "10.77.0.1", backlog=200)

    def answer(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            while connection.recv(100):
                connection.send(b"ok")

    def serve() -> None:
        while True:
            stage.thread(answer, server.accept()[0])

    def call() -> None:
        while True:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("10.77.0.1", 8080), timeout=30) as client,
            ):
                for _ in range(10):
                    client.send(b"hello")
                    client.recv(10)
                    time.sleep(0.5)

    stage.thread(serve)
    for _ in range(30):
        stage.thread(call)


@case(
    Expect(
        "conntrack_pressure", "warning", anywhere=["SNAT has no source port"], never=["was full"]
    ),
    Expect(
        "connect_stalled", "critical", PLAY, 8080, summary=["every connect fails"],
        advice=["conntrack of this host drops packets"],
    ),
)  # fmt: skip
def snat_ports_used_up(stage: Stage) -> None:
    """SNAT to ten ports of one address: the eleventh connection to a place cannot be made."""
    link = stage.peer()
    to = "10.77.0.2:50000-50009"
    iptables(stage, f"-t nat -A POSTROUTING -p tcp --dport 8080 -j SNAT --to-source {to}")
    server = link.client.call(listen, 8080, "10.77.0.1", backlog=300)
    stage.keep.append(server)
    for _ in range(10):
        stage.keep.append((connect(8080, "10.77.0.1"), server.accept()))
    for _ in range(5):
        stage.thread(call_again, "10.77.0.1", 8080, 5.0, 0.2)


@case(
    Expect(
        "accept_queue", "critical", PLAY, 3129,
        summary=["does not accept on port 3129", "60 connections wait"],
    )
)  # fmt: skip
def tproxy_does_not_accept(stage: Stage) -> None:
    """TPROXY gives a listener connections to other addresses and another port; it is stuck."""
    link = stage.peer()
    link.client.ip("route add default via 10.77.0.2")
    iptables(
        stage,
        "-t mangle -A PREROUTING -p tcp --dport 8080 -j TPROXY --on-port 3129 --tproxy-mark 1",
    )
    link.server.ip("rule add fwmark 1 lookup 100", "route add local 0.0.0.0/0 dev lo table 100")
    server = socket.socket()
    server.setsockopt(socket.SOL_IP, _IP_TRANSPARENT, 1)
    server.bind(("0.0.0.0", 3129))
    server.listen(200)
    stage.keep.append(server)
    for n in range(60):
        client = link.client.call(connect, 8080, f"198.51.100.{n + 1}")
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        stage.keep.append(client)


def _pools(stage: Stage, link: Link, count: int, *ports: int) -> list[socket.socket]:
    """So many connections to each of these ports of the other host."""
    held = []
    for port in ports:
        server = link.client.call(listen, port, "10.77.0.1")
        for _ in range(count):
            held.append(connect(port, "10.77.0.1"))
            stage.keep.append(server.accept())
    stage.keep.append(held)
    return held


@case(
    Expect(
        "dead_peer", "critical", PLAY,
        summary=[r"10 of 10 established connections made to 5 ports of 10\.77\.0\.1"],
    ),
    within=240,
)  # fmt: skip
def host_of_many_services_lost(stage: Stage) -> None:
    """A host of five services is lost: two connections to each, all in use."""
    link = stage.peer()
    held = _pools(stage, link, 2, 5432, 6379, 8080, 9042, 11211)
    link.cut()
    for each in held:
        each.send(b"query")


@case(
    Expect("dead_peer", "critical", PLAY, summary=[r"5 of 5 .* \(10\.77\.0\.1\)"]),
    says=("because of this, also",), passing=("dead_peer",), within=240, settled=60,
)  # fmt: skip
def host_of_two_pools_lost(stage: Stage) -> None:
    """A host is lost with a pool of five to each of two services: one trouble."""
    link = stage.peer()
    held = _pools(stage, link, 5, 5432, 6379)
    link.cut()
    for each in held:
        each.send(b"query")


@case(watched=150)
def browsers_vanish(stage: Stage) -> None:
    """75 clients of a web server, of whom 3 have vanished, each with connections to two ports."""
    link = stage.peer()
    more_addresses(link, range(12, 87))
    servers = [listen(port, "10.77.0.2", backlog=1000) for port in (80, 443)]
    held = []
    for n in range(12, 87):
        for server in (servers[0], servers[1], servers[1]):
            client = link.client.socket()
            client.bind((f"10.77.0.{n}", 0))
            client.connect(server.getsockname())
            if n < 15:
                deaf(client)
            held.append(server.accept()[0])
            stage.keep.append(client)

    def tell() -> None:
        for _ in every(10):
            for each in held:
                with contextlib.suppress(OSError):
                    each.send(b"news")

    stage.thread(tell)


@case(
    Expect(
        "dead_peer", "critical", r"^shop\.service$", 8080,
        summary=[r"6 of 6 .* keepalive probes", r"10\.77\.0\.1"],
    ),
    within=240,
)  # fmt: skip
def firewall_forgot_a_pool(stage: Stage) -> None:
    """A firewall has forgotten idle connections, and drops: a pool's keepalive asks in vain."""
    link = stage.peer()
    server = link.client.call(listen, 8080, "10.77.0.1")
    stage.python(
        "shop.py",
        """
import socket, time
held = []
for _ in range(6):
    client = socket.create_connection(("10.77.0.1", 8080))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 60)
    held.append(client)
open("/tmp/connected", "w").close()
time.sleep(3600)
""",
        unit="shop.service",
    )
    for _ in range(6):
        stage.keep.append(server.accept())
    eventually((stage.root / "tmp/connected").exists)
    iptables(stage, "-A INPUT -p tcp --sport 8080 -j DROP")
