"""`python -m tests.page.screenshots DIRECTORY [MINUTES]`: the page under real drills, as pictures.

Not a test: `make screenshots` runs it when the page has changed, and somebody looks at them. The
host of most pictures is an hour old, so that they show an hour of history, by default thresholds.
"""

import math
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, ViewportSize

from sockmon.drill.lab.sockets import abort, accepted, close_in_turn, connected, listening
from tests.lab import AddressKind, NetNs, states
from tests.page.browser import ORIGIN, PHONE, chromium
from tests.page.scenes import LEAKING_SERVER, leaking
from tests.running import running_daemon
from tests.world import small_world

#: For the pictures of a minute.
CONFIG = """
poll: {interval: 1s}
detect:
  close_wait_leak: {stale_after: 15s, for: 10s}
  ephemeral_port_pressure: {for: 10s}
"""
DESKTOP: ViewportSize = {"width": 1280, "height": 800}
LOCAL_PORTS = 1000
#: Of the processes that leak.
_DESCRIPTORS = 1500
CONTAINERS = (
    "orders", "payments", "cart", "search", "catalogue", "mail", "images", "sessions", "gateway",
    "billing", "reports",
)  # fmt: skip


class Traffic:
    """Clients and a server that serves them: connections come, stay a while and are closed."""

    def __init__(self, netns: NetNs) -> None:
        self._netns = netns
        self._listener = listening(netns, AddressKind.IPV4)
        self._port = self._listener.getsockname()[1]
        self._held: list[tuple[socket.socket, socket.socket]] = []

    def adjust(self, wanted: int) -> None:
        """Open or close until so many connections are open."""
        while len(self._held) < wanted:
            client = connected(self._netns, AddressKind.IPV4, self._port)
            self._held.append((client, accepted(self._listener)))
        while len(self._held) > wanted:
            close_in_turn(*self._held.pop(0))

    def flow(self, seconds: int, around: int, swing: int) -> None:
        """Go on like a working day: never quite the same."""
        for second in range(seconds):
            self.adjust(around + round(swing * math.sin(second / 5) + swing / 4 * (second % 3)))
            time.sleep(1)

    def close(self) -> None:
        """Leave nothing open."""
        for pair in self._held:
            for end in pair:
                abort(end)
        self._listener.close()


@contextmanager
def leaks(
    netns: NetNs, directory: Path, name: str, port: int, most: int
) -> Iterator[Callable[[], None]]:
    """A process that leaks so many at most; yields what makes it leak one more."""
    program = directory / name
    program.symlink_to(sys.executable)
    server = [str(program), str(LEAKING_SERVER), "127.0.0.1", str(port), str(most)]
    with netns.popen(["prlimit", f"--nofile={_DESCRIPTORS}", *server]) as process:
        assert process.stdout is not None
        process.stdout.readline()

        def more() -> None:
            with connected(netns, AddressKind.IPV4, port) as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")

        yield more
        process.kill()


@contextmanager
def host(
    directory: Path, *, config_text: str = CONFIG, local_ports: int | None = None
) -> Iterator[tuple[NetNs, Browser]]:
    """A host of its own with a daemon and a browser."""
    config = directory / "config.yaml"
    config.write_text(config_text)
    node = {"NODE_NAME": "web-1"}
    with small_world() as world, world.own() as netns:
        if local_ports is not None:
            netns.set_sysctl("net.ipv4.ip_local_port_range", f"40000 {39999 + local_ports}")
        with (
            running_daemon(netns, "--config", str(config), prefix=world.seeing, environment=node),
            chromium(netns, directory) as browser,
        ):
            yield netns, browser


def take(
    browser: Browser,
    to: Path,
    *,
    scheme: str = "light",
    size: ViewportSize = DESKTOP,
    locale: str = "en-US",
) -> None:
    """Take a picture of the whole page."""
    page = browser.new_page(
        viewport=size,
        color_scheme="dark" if scheme == "dark" else "light",
        locale=locale,
    )
    page.goto(ORIGIN)
    page.wait_for_selector(".plot canvas")
    page.wait_for_timeout(1500)
    page.screenshot(path=to, full_page=True)
    page.close()


def take_containers(directory: Path, to: Path) -> None:
    """A host with a dozen containers, and a leak in one of them."""
    config = CONFIG.replace("interval: 1s", "interval: 2s, namespaces: all, cpu_budget: 0.5")
    with ExitStack() as stack:
        world = stack.enter_context(small_world())
        own = stack.enter_context(world.own())
        busy = {}
        for number, name in enumerate(CONTAINERS):
            inside = busy[name] = stack.enter_context(world.netns())
            world.name(inside, name)
            stack.enter_context(states.established(inside, count=7 + 13 * number % 41))
            stack.enter_context(states.time_wait(inside, count=1 + 17 * number % 29))
        file = directory / "config.yaml"
        file.write_text(config)
        node = {"NODE_NAME": "web-1"}
        stack.enter_context(
            running_daemon(own, "--config", str(file), prefix=world.seeing, environment=node)
        )
        browser = stack.enter_context(chromium(own, directory))
        traffic = Traffic(busy["orders"])
        stack.callback(traffic.close)
        traffic.flow(20, 90, 30)
        with leaking(busy["orders"], directory, "orders-api", 34):
            traffic.flow(35, 90, 30)
            take(browser, to / "containers.png")


def take_an_hour(to: Path, minutes: float) -> None:
    """A host that is healthy for the first half, and then leaks more and more."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        netns, browser = stack.enter_context(host(directory, config_text="{}"))
        traffic = Traffic(netns)
        stack.callback(traffic.close)
        begun = time.monotonic()
        turns = Turns(traffic, begun)
        turns.until(begun + 30 * minutes)
        take(browser, to / "healthy.png")
        thumbnailer = stack.enter_context(leaks(netns, directory, "image-thumbnailer", 9090, 1400))
        orders = stack.enter_context(leaks(netns, directory, "orders-api", 8080, 40))
        for _ in range(40):
            orders()
        turns.until(begun + 60 * minutes, thumbnailer)
        take(browser, to / "leak.png")
        take(browser, to / "dark.png", scheme="dark")
        take(browser, to / "phone.png", size=PHONE)
        take(browser, to / "chinese.png", locale="zh-CN")


@dataclass(frozen=True, slots=True)
class Turns:
    """Traffic like that of a working day, by the time since it began."""

    traffic: Traffic
    begun: float

    def until(self, end: float, also: Callable[[], None] = lambda: None) -> None:
        """Go on until then, and do something besides each second or two."""
        while (now := time.monotonic()) < end:
            wave = math.sin((now - self.begun) / 300) + math.sin((now - self.begun) / 47) / 4
            self.traffic.adjust(180 + round(40 * wave))
            also()
            time.sleep(1.5)


def main(to: Path, minutes: float = 60.0) -> None:
    """Take them all. The Chinese one needs a font with Chinese glyphs."""
    to.mkdir(parents=True, exist_ok=True)
    take_an_hour(to, minutes)
    with tempfile.TemporaryDirectory() as name:
        take_containers(Path(name), to)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        netns, browser = stack.enter_context(host(directory, local_ports=LOCAL_PORTS))
        traffic = Traffic(netns)
        stack.callback(traffic.close)
        for used in range(300, 940, 16):
            traffic.adjust(used)
            time.sleep(1)
        take(browser, to / "ports.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(float, sys.argv[2:]))
