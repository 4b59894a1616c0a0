"""A real Prometheus scrapes the running daemon; promtool has nothing to complain of."""

import subprocess
from pathlib import Path

import pytest

from tests.conftest import component
from tests.lab import NetNs, eventually, states
from tests.running import PORT, running_daemon
from tests.servers import prometheus

pytestmark = [pytest.mark.root, pytest.mark.component("prometheus")]

CONFIG = """
global: {scrape_interval: 1s}
scrape_configs:
  - job_name: sockmon
    static_configs: [{targets: ["127.0.0.1:%d"]}]
"""


def test_a_real_prometheus_scrapes_it(netns: NetNs, tmp_path: Path) -> None:
    with (
        states.close_wait(netns, count=6) as held,
        running_daemon(netns),
        prometheus(netns, tmp_path, CONFIG % PORT) as server,
    ):
        assert eventually(
            lambda: server.query('up{job="sockmon"}'), until=lambda s: 1 in s.values()
        )
        query = (
            f'sockmon_port_sockets{{direction="inbound",port="{held.port}",state="close_wait"}}'
            " == on() group_left sum(sockmon_sockets{state='close_wait'})"
        )
        assert list(eventually(lambda: server.query(query)).values()) == [6]
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
