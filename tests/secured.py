"""A real daemon with a web configuration, asked by curl inside a namespace of the laboratory."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import bcrypt

from tests.lab import PATIENCE, NetNs
from tests.pki import Authority
from tests.running import PORT
from tests.servers import Server

_END_OF_BODY = "\n--- curl says "


@dataclass(frozen=True, slots=True)
class Curled:
    """What curl made of it; `status` is 0 where there was no answer."""

    exit_status: int
    status: int
    headers: Mapping[str, list[str]]
    body: str
    error: str


class SecuredDaemon(Server):
    """`sockmon run --web.config.file`; `options` let curl in."""

    def __init__(self, netns: NetNs, directory: Path, scheme: str, *options: str) -> None:
        super().__init__(netns, directory, f"{scheme}://127.0.0.1:{PORT}", "/-/ready")
        self._options = options

    @property
    def web_config(self) -> Path:
        """The file that it reads."""
        return self.directory / "web.yml"

    def run(self, *arguments: str) -> None:
        """Return when it is ready."""
        daemon = (sys.executable, "-m", "sockmon", "run")
        self.start(*daemon, "--web.config.file", str(self.web_config), *arguments)

    def get(self, path: str) -> str:
        """What it answers to somebody who may ask; nothing, if it refuses."""
        curled = self.curl(self._base_url + path, *self._options)
        return curled.body if curled.status == 200 else ""

    def value(self, name: str) -> float:
        """One sample's value on /metrics."""
        lines = self.get("/metrics").splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))

    def curl(self, url: str, *options: str) -> Curled:
        """Ask for a URL, or a path, with these options and no others."""
        if url.startswith("/"):
            url = self._base_url + url
        template = _END_OF_BODY + '{"status": "%{http_code}", "headers": %{header_json}}'
        ended = self.netns.run(
            ["curl", "--silent", "--show-error", "--write-out", template, *options, url],
            check=False,
        )
        body, _, said = ended.stdout.rpartition(_END_OF_BODY)
        told = json.loads(said)
        return Curled(ended.returncode, int(told["status"]), told["headers"], body, ended.stderr)

    def log(self) -> str:
        """What it has written to standard error."""
        return (self.directory / "log").read_text()

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> int:
        """End it in good order; returns the exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(timeout=PATIENCE)


@contextmanager
def secured_daemon(
    netns: NetNs, directory: Path, web_config: str, *options: str, arguments: tuple[str, ...] = ()
) -> Iterator[SecuredDaemon]:
    """Run the daemon under a web configuration until the context is left."""
    scheme = "https" if "tls_server_config" in web_config else "http"
    daemon = SecuredDaemon(netns, directory, scheme, *options)
    daemon.web_config.write_text(web_config)
    try:
        daemon.run(*arguments)
        yield daemon
        assert "Traceback" not in daemon.log()
        assert daemon.stop() == 0
    finally:
        daemon.kill()


def certified(directory: Path) -> Authority:
    """An authority with a certificate for a server on loopback, server.crt, and its key."""
    authority = Authority(directory)
    authority.issue("server", "DNS:localhost", "IP:127.0.0.1", "IP:10.77.9.1")
    return authority


def hashed(password: str, cost: int = 4) -> str:
    """A bcrypt hash, cheap unless told otherwise."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()
