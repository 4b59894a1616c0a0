"""A real Prometheus scrapes the running daemon; promtool has nothing to complain of."""

import json
import subprocess
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import component
from tests.lab import NetNs, eventually, states
from tests.running import PORT, running_daemon

pytestmark = [pytest.mark.root, pytest.mark.component("prometheus")]

CONFIG = """
global: {scrape_interval: 1s}
scrape_configs:
  - job_name: sockmon
    static_configs: [{targets: ["127.0.0.1:%d"]}]
"""


class Prometheus:
    """A running server."""

    def __init__(self, netns: NetNs) -> None:
        self._netns = netns

    def query(self, expression: str) -> dict[str, float]:
        """The value of an instant query by its labels, as JSON."""
        url = f"http://127.0.0.1:9090/api/v1/query?query={urllib.parse.quote(expression)}"
        answer = self._netns.run(["curl", "--silent", "--fail", url], check=False).stdout
        result = json.loads(answer)["data"]["result"] if answer else []
        return {
            json.dumps(sample["metric"], sort_keys=True): float(sample["value"][1])
            for sample in result
        }


@contextmanager
def prometheus(netns: NetNs, directory: Path) -> Iterator[Prometheus]:
    """Run Debian's Prometheus inside the namespace."""
    (directory / "prometheus.yml").write_text(CONFIG % PORT)
    program = component("prometheus")
    assert program is not None
    with (directory / "log").open("wb") as log:
        process = netns.call(
            subprocess.Popen[bytes],
            [
                program,
                f"--config.file={directory}/prometheus.yml",
                f"--storage.tsdb.path={directory}/data",
                "--web.listen-address=127.0.0.1:9090",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        yield Prometheus(netns)
    finally:
        process.terminate()
        process.wait(timeout=20)


def test_a_real_prometheus_scrapes_it(netns: NetNs, tmp_path: Path) -> None:
    with (
        states.close_wait(netns, count=6) as held,
        running_daemon(netns),
        prometheus(netns, tmp_path) as server,
    ):
        assert eventually(
            lambda: server.query('up{job="sockmon"}'), until=lambda s: 1 in s.values(), within=30
        )
        query = (
            f'sockmon_port_sockets{{role="listener",port="{held.port}",state="close_wait"}}'
            " == on() group_left sum(sockmon_sockets{state='close_wait'})"
        )
        assert list(eventually(lambda: server.query(query), within=15).values()) == [6]
        assert server.query("scrape_samples_scraped") != {}


@pytest.mark.component("promtool")
def test_promtool_finds_nothing_to_complain_of(netns: NetNs) -> None:
    promtool = component("promtool")
    assert promtool is not None
    with states.established(netns, count=2), running_daemon(netns) as daemon:
        text = daemon.get("/metrics").body.decode()
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
