"""A daemon that looks at every network namespace of a small world, and the leaks it reports."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.running import RunningDaemon, running_daemon
from tests.world import World

CONFIG = """
poll: {interval: 200ms, namespaces: all, cpu_budget: 1, top_namespaces: 1000}
detect: {close_wait_leak: {stale_after: 1s, warning_sockets: 2, for: 0s, keep_firing_for: 0s}}
"""


@contextmanager
def watching(directory: Path, world: World, config: str = CONFIG) -> Iterator[RunningDaemon]:
    """The daemon is where the world's first process is; its config.yaml is in the directory."""
    file = directory / "config.yaml"
    file.write_text(config)
    with (
        world.own() as netns,
        running_daemon(netns, "--config", str(file), prefix=world.seeing) as daemon,
    ):
        yield daemon
        assert daemon.stop() == 0
        assert "Traceback" not in daemon.log()


def leaks(daemon: RunningDaemon, netns: str) -> list[dict[str, str]]:
    """The labels of the leaks' alerts that fire for a namespace of that name."""
    alerts = json.loads(daemon.get("/api/v1/alerts").body)["alerts"]
    return [
        alert["labels"]
        for alert in alerts
        if alert["state"] == "firing"
        and alert["labels"]["alertname"] == "SockmonCloseWaitLeak"
        and alert["labels"].get("netns") == netns
    ]


def shown(daemon: RunningDaemon, metric: str, netns: str) -> list[float]:
    """A metric's values for a namespace."""
    samples = daemon.samples(metric)
    return [value for labels, value in samples.items() if ("netns", netns) in labels]
