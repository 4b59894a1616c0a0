"""Servers that accept or read no more: stuck, or at a limit of their own."""

import contextlib
import time

from tests.cases.case import Expect, case
from tests.cases.clients import ask, ask_often, get
from tests.cases.stage import Stage, connect, every
from tests.cases.stories.programs import nginx
from tests.lab import eventually

TOMCAT = """
import java.io.*;
import jakarta.servlet.http.*;
import org.apache.catalina.startup.Tomcat;
public class Shop {
  public static void main(String[] arguments) throws Exception {
    Tomcat tomcat = new Tomcat();
    tomcat.setBaseDir("/tmp/tomcat");
    tomcat.setPort(8080);
    var connector = tomcat.getConnector();
    for (String argument : arguments) {
      String[] pair = argument.split("=");
      connector.setProperty(pair[0], pair[1]);
    }
    var context = tomcat.addContext("", "/tmp");
    Tomcat.addServlet(context, "stuck", new HttpServlet() {
      protected void doGet(HttpServletRequest q, HttpServletResponse a) throws IOException {
        try { Thread.sleep(3600000); } catch (InterruptedException e) { }
      }
    });
    context.addServletMappingDecoded("/", "stuck");
    tomcat.start();
    tomcat.getServer().await();
  }
}
"""


def tomcat(stage: Stage, *settings: str) -> None:
    """Start Tomcat on port 8080, with a servlet that never answers."""
    stage.write("/srv/Shop.java", TOMCAT)
    (stage.root / "tmp/tomcat").mkdir()
    stage.start(
        "java", "-Xmx96m", "-cp", "/usr/share/java/*", "/srv/Shop.java", *settings,
        unit="tomcat10.service",
    )  # fmt: skip
    stage.listening(8080)


@case(
    Expect(
        "accept_queue", "critical", r"^tomcat10\.service$", 8080,
        summary=[r"tomcat10\.service does not accept on port 8080: \d+ connections wait"],
    ),
    within=260,
)  # fmt: skip
def tomcat_max_connections(stage: Stage) -> None:
    """Tomcat's maxConnections are used up by requests that never end; others wait."""
    tomcat(stage, "maxThreads=4", "maxConnections=10", "acceptCount=50")
    ask(stage, 8080, 40)


@case(
    Expect(
        "unread_data", "warning", r"^tomcat10\.service$", 8080,
        summary=[r"tomcat10\.service has not read from \d+ connections accepted on port 8080"],
    ),
    within=260,
)  # fmt: skip
def tomcat_threads_stuck(stage: Stage) -> None:
    """All four threads of Tomcat are stuck; it accepts more, and reads nothing of them."""
    tomcat(stage, "maxThreads=4")
    ask(stage, 8080, 40)


@case(
    Expect(
        "accept_queue", "critical", r"^puma\.service$", 9292,
        summary=[r"puma\.service does not accept on port 9292: \d+ connections wait"],
    ),
    within=260,
)  # fmt: skip
def puma_threads_stuck(stage: Stage) -> None:
    """Puma: both threads wait for something that never comes."""
    stage.write("/srv/config.ru", "run ->(env) { sleep 3600; [200, {}, ['ok']] }\n")
    stage.start(
        "puma", "-t", "2:2", "-b", "tcp://127.0.0.1:9292", "--dir", "/srv", "/srv/config.ru",
        unit="puma.service",
    )  # fmt: skip
    stage.listening(9292)
    ask(stage, 9292, 30)


@case(
    Expect(
        "unread_data", "warning", r"^gateway\.service$", 8080,
        summary=[r"gateway\.service has not read from \d+ connections accepted on port 8080"],
    ),
    within=260,
)  # fmt: skip
def netty_event_loop_blocked(stage: Stage) -> None:
    """Netty: a blocking call in a handler holds one of two event loops, with half the clients."""
    stage.write(
        "/srv/Gateway.java",
        """
import io.netty.bootstrap.*; import io.netty.buffer.*; import io.netty.channel.*;
import io.netty.channel.nio.*; import io.netty.channel.socket.*;
import io.netty.channel.socket.nio.*; import java.nio.charset.StandardCharsets;
public class Gateway {
  public static void main(String[] arguments) throws Exception {
    new ServerBootstrap().group(new NioEventLoopGroup(1), new NioEventLoopGroup(2))
      .channel(NioServerSocketChannel.class)
      .childHandler(new ChannelInitializer<SocketChannel>() {
        protected void initChannel(SocketChannel channel) {
          channel.pipeline().addLast(new SimpleChannelInboundHandler<ByteBuf>() {
            protected void channelRead0(ChannelHandlerContext c, ByteBuf in) throws Exception {
              String request = in.toString(StandardCharsets.US_ASCII);
              if (request.contains("/stuck")) Thread.sleep(3600000);
              String answer = "HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok";
              c.writeAndFlush(Unpooled.copiedBuffer(answer.getBytes()));
            }
          });
        }
      }).bind(8080).sync().channel().closeFuture().sync();
  }
}
""",
    )
    stage.start(
        "java",
        "-Xmx96m",
        "-cp",
        "/usr/share/java/netty-all.jar:/usr/share/java/*",
        "/srv/Gateway.java",
        unit="gateway.service",
    )
    stage.listening(8080)
    stage.thread(get, 8080, 3600.0, "/stuck")
    time.sleep(1)
    ask_often(stage, 8080, 2, timeout=3600)


@case(
    Expect(
        "accept_queue", None, r"^php8\.2-fpm\.service$",
        summary=[r"/run/php/app\.sock"], anywhere=["EAGAIN"], never=["does not accept"],
    ),
    within=260,
)  # fmt: skip
def php_fpm_small_backlog(stage: Stage) -> None:
    """PHP-FPM with two children and listen.backlog 11: nginx gets EAGAIN and answers 502."""
    stage.write("/srv/slow.php", "<?php sleep(3); echo 'ok';")
    stage.write(
        "/etc/php/case.conf",
        """
[global]
daemonize = no
error_log = /tmp/fpm.log
[www]
user = www-data
group = www-data
listen = /run/php/app.sock
listen.owner = www-data
listen.backlog = 11
pm = static
pm.max_children = 2
""",
    )
    (stage.root / "run/php").mkdir(exist_ok=True)
    stage.start("php-fpm8.2", "-y", "/etc/php/case.conf", unit="php8.2-fpm.service")
    eventually((stage.root / "run/php/app.sock").exists)
    nginx(
        stage,
        "server { listen 8080; location / { fastcgi_pass unix:/run/php/app.sock; "
        "fastcgi_param SCRIPT_FILENAME /srv/slow.php; fastcgi_param REQUEST_METHOD GET; } }",
    )
    stage.listening(8080)
    ask_often(stage, 8080, 0.2, 120)


@case(
    Expect(
        "accept_queue", "critical", r"^chat\.service$", 9001,
        summary=[r"chat\.service does not accept on port 9001"],
    ),
    within=260,
)  # fmt: skip
def php_select_beyond_1024(stage: Stage) -> None:
    """PHP's stream_select() takes no descriptor above 1023: from then on, nobody is served."""
    stage.write(
        "/srv/chat.php",
        """<?php
$context = stream_context_create(["socket" => ["backlog" => 511]]);
$server = stream_socket_server("tcp://0.0.0.0:9001", $e, $m, 12, $context);
stream_set_blocking($server, false);
$clients = [];
while (true) {
  $read = [$server, ...$clients]; $w = null; $x = null;
  if (@stream_select($read, $w, $x, 1) === false) { usleep(100000); continue; }
  foreach ($read as $one) {
    if ($one === $server) { $clients[] = stream_socket_accept($server); continue; }
    $text = fread($one, 1000);
    if ($text !== "" && $text !== false) { fwrite($one, "ok"); continue; }
    unset($clients[array_search($one, $clients, true)]);
    fclose($one);
  }
}
""",
    )
    stage.start("php", "/srv/chat.php", unit="chat.service", descriptors=4096)
    stage.listening(9001)

    def clients() -> object:
        held = []
        for _ in range(1060):
            client = connect(9001)
            client.send(b"hello")
            held.append(client)
            time.sleep(0.003)
        return held

    stage.child(clients)


def postfix(stage: Stage, *settings: str) -> None:
    """Start Postfix in the foreground."""
    stage.run(
        "postconf",
        "-e",
        "maillog_file=/tmp/mail.log",
        "maillog_file_prefixes=/tmp,/var",
        "inet_interfaces=127.0.0.1",
        "inet_protocols=ipv4",
        "smtputf8_enable=no",
        "compatibility_level=3.6",
        "mydestination=",
        "smtp_host_lookup=native",
        "disable_dns_lookups=yes",
        *settings,
    )
    stage.run("postconf", "-M", "postlog/unix-dgram=postlog unix-dgram n - n - 1 postlogd")
    stage.run("sh", "-c", "postconf -F '*/*/chroot=n'; newaliases; mkdir -p /var/spool/postfix/pid")
    stage.start("postfix", "start-fg", unit="postfix@-.service")
    stage.listening(25)


@case(
    Expect(
        "accept_queue", None, r"^postfix@-\.service$", 25,
        summary=[r"on port 25"], advice=["Do not restart"], anywhere=["still serves"],
    ),
    within=260,
)  # fmt: skip
def postfix_at_its_process_limit(stage: Stage) -> None:
    """Five SMTP clients that say little hold all five smtpd processes; others wait."""
    postfix(stage, "default_process_limit=5", "smtpd_timeout=1h")

    def talk() -> None:
        with connect(25) as client:
            client.recv(1000)
            for _ in every(10):
                client.send(b"NOOP\r\n")
                client.recv(1000)

    for _ in range(5):
        stage.thread(talk)
    time.sleep(3)
    for _ in range(12):
        stage.thread(talk)


@case(
    Expect(
        "accept_queue", None, r"^dnsmasq\.service$", 53,
        summary=[r"dnsmasq\.service does not accept on port 53"],
    ),
    within=260,
)  # fmt: skip
def dnsmasq_tcp_children(stage: Stage) -> None:
    """dnsmasq answers TCP by at most 20 children; silent clients hold all of them."""
    stage.start(
        "dnsmasq", "-k", "-C", "/dev/null", "--no-resolv", "--no-hosts", "--user=root",
        "--listen-address=127.0.0.1", "--bind-interfaces", unit="dnsmasq.service",
    )  # fmt: skip
    stage.listening(53)
    for _ in range(30):
        stage.keep.append(connect(53))


@case(
    Expect(
        "accept_queue", None, r"^lighttpd\.service$", 8080,
        summary=["on port 8080"], advice=["Do not restart"], anywhere=["still serves"],
    ),
    within=260,
)  # fmt: skip
def lighttpd_at_max_connections(stage: Stage) -> None:
    """lighttpd with server.max-connections 16, all of them event streams in use; others wait."""
    stage.python(
        "events.py",
        """
import asyncio
from aiohttp import web
async def stream(request):
    answer = web.StreamResponse()
    await answer.prepare(request)
    while True:
        await answer.write(b"data: x\\n\\n")
        await asyncio.sleep(2)
app = web.Application()
app.add_routes([web.get("/", stream)])
web.run_app(app, host="127.0.0.1", port=9000)
""",
        unit="events.service",
    )
    stage.listening(9000)
    stage.write(
        "/etc/lighttpd/case.conf",
        """
server.modules = ("mod_proxy")
server.document-root = "/srv"
server.port = 8080
server.max-connections = 16
server.max-fds = 256
server.stream-response-body = 2
proxy.server = ("" => (("host" => "127.0.0.1", "port" => 9000)))
""",
    )
    stage.start("lighttpd", "-D", "-f", "/etc/lighttpd/case.conf", unit="lighttpd.service")
    stage.listening(8080)
    stage.python(
        "browsers.py",
        """
import socket, threading
def read():
    client = socket.create_connection(("127.0.0.1", 8080))
    client.send(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    while client.recv(1000):
        pass
for _ in range(30):
    threading.Thread(target=read).start()
""",
        unit="browsers.service",
    )


@case(
    Expect(
        "unread_data", "warning", r"^rabbitmq-server\.service$", 5672,
        summary=[r"has not read from \d+ connections accepted on port 5672"],
        advice=["Do not restart"],
    ),
    within=300,
)  # fmt: skip
def rabbitmq_memory_alarm(stage: Stage) -> None:
    """RabbitMQ above its memory limit reads nothing more from those who publish."""
    stage.write(
        "/etc/rabbitmq/rabbitmq.conf",
        "vm_memory_high_watermark.absolute = 1MB\nlisteners.tcp.default = 127.0.0.1:5672\n",
    )
    stage.write("/etc/hosts", "127.0.0.1 localhost broker\n")
    stage.start(
        "sh",
        "-c",
        "chown -R rabbitmq: /var/lib/rabbitmq /var/log/rabbitmq; exec rabbitmq-server",
        unit="rabbitmq-server.service",
        environment={"HOME": "/var/lib/rabbitmq", "RABBITMQ_NODENAME": "r@localhost"},
    )
    eventually(lambda: _open(5672), within=120)
    stage.python(
        "publish.py",
        """
import amqp, threading, time
def run():
    connection = amqp.Connection("127.0.0.1:5672", heartbeat=0)
    connection.connect()
    channel = connection.channel()
    while True:
        channel.basic_publish(amqp.Message("x" * 1000), "", "jobs")
def consume():
    connection = amqp.Connection("127.0.0.1:5672", heartbeat=10)
    connection.connect()
    channel = connection.channel()
    while True:
        channel.queue_declare("other", passive=False)
        time.sleep(2)
for _ in range(15):
    threading.Thread(target=run).start()
for _ in range(4):
    threading.Thread(target=consume).start()
""",
        unit="publish.service",
    )


def _open(port: int) -> bool:
    with contextlib.suppress(OSError):
        connect(port).close()
        return True
    return False
