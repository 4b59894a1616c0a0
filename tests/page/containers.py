"""A host with containers: namespaces with names, and a daemon that sees these and no others.

It has PID and mount namespaces of its own, so neither this machine's namespaces nor those of other
tests are in sight. All in it ends with it, and it with whoever started it.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.lab import NetNs
from tests.running import RunningDaemon, running_daemon

#: As in scenes.py, but each poll walks this machine's whole table once for each namespace.
CONFIG = """
poll: {interval: 1s, namespaces: all, cpu_budget: 0.5}
detect:
  close_wait_leak: {stale_after: 2s, for: 1s, keep_firing_for: 1s}
"""

WITHOUT_PRIVILEGE = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")

_MADE = "mount -t tmpfs tmpfs /run && mkdir /run/netns && echo made && exec cat"
_NAMED = 'touch "$0" && mount --bind /proc/self/ns/net "$0"'


@dataclass(frozen=True, slots=True)
class Containers:
    """`init`: the PID of its first process, as this machine knows it."""

    host: NetNs
    init: int

    @property
    def prefix(self) -> tuple[str, ...]:
        """What makes a command one of its processes."""
        return (*self._into("pid"), "setpriv", "--pdeathsig=KILL")

    def name(self, netns: NetNs, name: str) -> None:
        """Give a namespace a name, as `ip netns` does."""
        inside = [*self._into("pid", "mnt"), f"--net={netns.path}"]
        subprocess.run([*inside, "sh", "-c", _NAMED, f"/run/netns/{name}"], check=True)

    @contextmanager
    def resident(self, netns: NetNs) -> Iterator[None]:
        """A process of it that lives in the namespace."""
        with netns.popen([*self.prefix, "cat"]) as process:
            try:
                yield
            finally:
                process.kill()

    @contextmanager
    def daemon(self, directory: Path, config: str, *prefix: str) -> Iterator[RunningDaemon]:
        """Run the daemon; it ends with the host, so there is one for each."""
        file = directory / "config.yaml"
        file.write_text(config)
        inside = [*self._into("pid", "mnt"), f"--wd={REPOSITORY}", *prefix]
        environment = {"NODE_NAME": "web-1"}
        with running_daemon(
            self.host, "--config", str(file), prefix=inside, environment=environment
        ) as daemon:
            yield daemon

    def _into(self, *kinds: str) -> list[str]:
        options = {"pid": "--pid", "mnt": "--mount"}
        return ["nsenter", *(f"{options[kind]}=/proc/{self.init}/ns/{kind}" for kind in kinds)]


@contextmanager
def containers(host: NetNs) -> Iterator[Containers]:
    """Make a host whose own network namespace this is."""
    sandbox = ["unshare", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"]
    with host.popen([*sandbox, "sh", "-c", _MADE]) as outer:
        try:
            assert outer.stdout is not None
            assert outer.stdout.readline() == "made\n"
            children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text()
            yield Containers(host, int(children))
        finally:
            outer.kill()
