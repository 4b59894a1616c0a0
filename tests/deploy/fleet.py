"""A fleet: hosts in namespaces of their own, and a place from which they are watched."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab import NetNs
from tests.running import PORT, RunningDaemon, running_daemon

CLUSTER = "eu-1"
_WATCHER = "10.78.0.254"
_ALERTMANAGER = f"http://{_WATCHER}:9093/am"
_QUICK = {"for": "1s", "keep_firing_for": "8s"}  # the rules' copies end before
_DETECT = {
    "accept_queue": _QUICK,
    "close_wait_leak": {**_QUICK, "stale_after": "1s"},
    "closing_stalled": {**_QUICK, "stalled_after": "2s"},
    "connect_stalled": _QUICK,
}

Running = AbstractContextManager[RunningDaemon]


@dataclass(frozen=True, slots=True)
class FleetHost:
    """One host: its name to people, its address on the fleet's wire."""

    name: str
    address: str
    netns: NetNs

    def daemon(self, directory: Path, *, names_itself: bool = True) -> Running:
        """Run sockmon; one that does not name itself goes by the name of its node."""
        alerting: dict[str, Any] = {
            "labels": {"cluster": CLUSTER},
            # A dead daemon's alerts end after four of them: later than SockmonDown is known.
            "alertmanager": {"urls": [_ALERTMANAGER], "resend_delay": "5s"},
        }
        prefix: tuple[str, ...] = ()
        if names_itself:
            alerting["labels"]["instance"] = self.name
        else:
            prefix = ("unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', self.name)
        file = directory / f"{self.name}.yaml"
        config = {"poll": {"interval": "1s"}, "detect": _DETECT, "alerting": alerting}
        file.write_text(json.dumps(config))
        arguments = ("--config", str(file), "--web.listen-address", f"0.0.0.0:{PORT}")
        return running_daemon(self.netns, *arguments, prefix=prefix)


@dataclass(frozen=True, slots=True)
class Fleet:
    """The hosts, all reached from `watcher`."""

    watcher: NetNs
    hosts: tuple[FleetHost, ...]


@contextmanager
def fleet(size: int) -> Iterator[Fleet]:
    """Make so many hosts on one wire."""
    with ExitStack() as stack:
        watcher = stack.enter_context(NetNs())
        watcher.ip(
            "link add wire type bridge", f"addr add {_WATCHER}/24 dev wire", "link set wire up"
        )
        hosts = []
        for number in range(1, size + 1):
            netns = stack.enter_context(NetNs())
            address = f"10.78.0.{number}"
            watcher.ip(
                f"link add to{number} type veth peer name eth0 netns {netns.path}",
                f"link set to{number} master wire up",
            )
            netns.ip(f"addr add {address}/24 dev eth0", "link set eth0 up")
            hosts.append(FleetHost(f"host-{number:02}", address, netns))
        yield Fleet(watcher, tuple(hosts))


@contextmanager
def all_running(daemons: Mapping[str, Running]) -> Iterator[Mapping[str, RunningDaemon]]:
    """Start them, a few at a time."""
    with ExitStack() as stack, ThreadPoolExecutor(4) as starters:
        begun = {name: starters.submit(daemon.__enter__) for name, daemon in daemons.items()}
        for daemon in daemons.values():
            stack.push(daemon)
        yield {name: start.result() for name, start in begun.items()}
