"""Debian's Prometheus and Alertmanager, running in a namespace of the laboratory."""

import json
import subprocess
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import component
from tests.lab import NetNs, eventually
from tests.unit.alert.hooks import Hook, hook

ALERTMANAGER_PORT = 9093
PROMETHEUS_PORT = 9090

#: Debian's build reads its templates from /usr/share; here they are only unpacked.
_WITH_ITS_SHARE = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /usr/share && exec "$@"')


class Server:
    """A program that serves HTTP on loopback, with its files in a directory of its own."""

    def __init__(self, netns: NetNs, directory: Path, base_url: str, ready_path: str) -> None:
        self.netns, self.directory = netns, directory
        self._base_url, self._ready_path = base_url, ready_path
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *command: str) -> None:
        """Return when it is ready."""
        with (self.directory / "log").open("ab") as log:
            self._process = self.netns.call(
                subprocess.Popen[bytes], command, stdout=log, stderr=log
            )
        eventually(self._ready)

    def _ready(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"it has ended: {(self.directory / 'log').read_text()}")
        return bool(self.get(self._ready_path))

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def get(self, path: str) -> str:
        """What it answers; nothing, if it refuses or is not there."""
        return self.netns.run(
            ["curl", "--silent", "--fail", self._base_url + path], check=False
        ).stdout


class Prometheus(Server):
    """A server that scrapes, records and judges by the configuration given."""

    def __init__(self, netns: NetNs, directory: Path) -> None:
        super().__init__(netns, directory, f"http://127.0.0.1:{PROMETHEUS_PORT}", "/-/ready")

    def query(self, expression: str) -> dict[str, float]:
        """The value of an instant query by its labels, as JSON."""
        answer = self.api("query", query=expression)
        return {
            json.dumps(sample["metric"], sort_keys=True): float(sample["value"][1])
            for sample in (answer["result"] if answer else [])
        }

    def api(self, endpoint: str, **parameters: str) -> Any:
        """The data that an endpoint of its API v1 answers; None if it refuses."""
        answer = self.get(f"/api/v1/{endpoint}?{urllib.parse.urlencode(parameters)}")
        return json.loads(answer)["data"] if answer else None


@contextmanager
def prometheus(netns: NetNs, directory: Path, config: str) -> Iterator[Prometheus]:
    """Run Prometheus; rule files named in `config` are looked for in `directory`."""
    program = component("prometheus")
    assert program is not None
    (directory / "prometheus.yml").write_text(config)
    server = Prometheus(netns, directory)
    try:
        server.start(
            program,
            f"--config.file={directory}/prometheus.yml",
            f"--storage.tsdb.path={directory}/data",
            f"--web.listen-address=127.0.0.1:{PROMETHEUS_PORT}",
        )
        yield server
    finally:
        server.kill()


class Alertmanager(Server):
    """A server on all addresses, under the path /am, where a proxy might have put it."""

    url = f"http://127.0.0.1:{ALERTMANAGER_PORT}/am"

    def __init__(self, netns: NetNs, directory: Path, config: str) -> None:
        super().__init__(netns, directory, self.url, "/-/ready")
        (directory / "alertmanager.yml").write_text(config)

    def run(self) -> None:
        """Start it, or start it again with what it had stored."""
        program = component("prometheus-alertmanager")
        assert program is not None
        share = Path(program).parents[1] / "share"
        self.start(
            *(*_WITH_ITS_SHARE, str(share), program),
            f"--config.file={self.directory}/alertmanager.yml",
            f"--storage.path={self.directory}/data",
            f"--web.listen-address=0.0.0.0:{ALERTMANAGER_PORT}",
            "--web.route-prefix=/am",
            "--cluster.listen-address=",
        )

    def alerts(self) -> list[dict[str, Any]]:
        """What its API shows: all that has not ended."""
        found: list[dict[str, Any]] = json.loads(self.get("/api/v2/alerts"))
        return found


@contextmanager
def hook_in(netns: NetNs, **answers: Any) -> Iterator[Hook]:
    """A webhook's receiver on the namespace's loopback."""
    listener = netns.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    with listener, hook(listener, **answers) as made:
        yield made
