"""A real Prometheus and Alertmanager, as shipped, over a fleet; what its data takes on disk."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench.hosts import Recording, figures
from bench.replay import STEP, Fleet, Host, serving, targets, value_of, written
from tests.conftest import REPOSITORY, component
from tests.lab import NetNs
from tests.servers import Alertmanager, Prometheus, prometheus

SHIPPED = REPOSITORY / "deploy" / "prometheus"
HOSTS_PORT = 9400
SCRAPE_SECONDS = 15  # as shipped: what is measured is for this
WARM_UP_SECONDS = 65  # four scrapes: every series exists, and rates have something to go by
BLOCK_SECONDS = 7200  # a head block of Prometheus
BLOCK_HOSTS = 10


@dataclass(frozen=True, slots=True)
class Watched:
    """What watching cost, per second over the window, or at its end (bytes, counts).

    `rules` are seconds by the clock that one evaluation of them all took, 0 without rules.
    `alerts` are those that Alertmanager was told.
    """

    hosts: int
    series: float
    recorded: float
    recorded_per_host: float
    samples: float
    cpu: float
    rules: float
    resident: float
    wire: float
    wal_per_sample: float
    firing: float
    alerts: float
    manager_cpu: float
    manager_resident: float
    health: Sequence[str]


@dataclass(frozen=True, slots=True)
class Block:
    """Two hours of a few hosts as a block of Prometheus: bytes and samples."""

    samples: int
    chunks: int
    rest: int  # index, meta


def asked_for(recording: Recording) -> int:
    """How many of the host's series the shipped rules ask for."""
    rules = [
        rule
        for file in (SHIPPED / "rules").glob("*.yml")
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
    ]
    asked = set(re.findall(r"\w+", " ".join(rule["expr"] for rule in rules)))
    return sum(series.bare in asked for series in Host(recording).series)


def watch(fleet: Fleet, directory: Path, seconds: int, *, rules: bool) -> Watched:
    """Let Prometheus scrape the fleet and judge it by the rules; measure it for so many seconds."""
    with ExitStack() as stack:
        netns = stack.enter_context(NetNs())
        listener = netns.socket()
        listener.bind(("127.0.0.1", HOSTS_PORT))
        listener.listen(512)
        stack.enter_context(serving(fleet, listener))
        manager = Alertmanager(netns, _made(directory / "alertmanager"), _manager_config())
        stack.callback(manager.kill)
        manager.run()
        files = _made(directory / "prometheus")
        config = _prometheus_config(fleet, files, rules=rules)
        server = stack.enter_context(prometheus(netns, files, config))
        time.sleep(WARM_UP_SECONDS)
        before = Reading.of(netns, server, manager)
        time.sleep(seconds)
        return _watched(fleet, server, before, Reading.of(netns, server, manager), files)


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything that counts up, at one moment."""

    at: float
    prometheus: dict[str, float]
    manager: dict[str, float]
    wire: int

    @classmethod
    def of(cls, netns: NetNs, server: Prometheus, manager: Alertmanager) -> "Reading":
        return cls(
            time.monotonic(),
            figures(server.get("/metrics")),
            figures(manager.get("/metrics")),
            netns.call(_loopback_bytes),
        )


def _loopback_bytes() -> int:
    lines = Path("/proc/thread-self/net/dev").read_text().splitlines()
    (counts,) = (line.partition(":")[2] for line in lines if line.strip().startswith("lo:"))
    return int(counts.split()[0])


def _watched(
    fleet: Fleet, server: Prometheus, before: Reading, after: Reading, files: Path
) -> Watched:
    seconds = after.at - before.at

    def each_second(name: str) -> float:
        return (after.prometheus[name] - before.prometheus[name]) / seconds

    def told_each_second(name: str) -> float:
        return (after.manager[name] - before.manager[name]) / seconds

    def count(selector: str) -> float:
        return sum(server.query(f"count({selector})").values())

    appended = "prometheus_tsdb_head_samples_appended_total"
    alerts = told_each_second("alertmanager_alerts_received_total")
    return Watched(
        hosts=len(fleet.hosts),
        series=after.prometheus["prometheus_tsdb_head_series"],
        recorded=count('{__name__=~"cluster_.+"}'),
        recorded_per_host=count("cluster_instance_job:sockmon_severity:max"),
        samples=each_second(appended),
        cpu=each_second("process_cpu_seconds_total"),
        rules=after.prometheus.get("prometheus_rule_group_last_duration_seconds", 0.0),
        resident=after.prometheus["process_resident_memory_bytes"],
        wire=(after.wire - before.wire) / seconds,
        wal_per_sample=_size(files / "data" / "wal") / after.prometheus[appended],
        firing=count('ALERTS{alertstate="firing"}'),
        alerts=alerts,
        manager_cpu=told_each_second("process_cpu_seconds_total"),
        manager_resident=after.manager["process_resident_memory_bytes"],
        health=tuple(_unwell(fleet, server, after)),
    )


def _unwell(fleet: Fleet, server: Prometheus, after: Reading) -> Iterator[str]:
    """What makes the figures worthless."""
    up = sum(server.query("sum(up)").values())
    if up != len(fleet.hosts):
        yield f"{up:.0f} of {len(fleet.hosts)} hosts were up"
    for name in (
        "prometheus_rule_group_iterations_missed_total",
        "prometheus_rule_evaluation_failures_total",
        "prometheus_target_scrapes_exceeded_sample_limit_total",
        "prometheus_notifications_dropped_total",
    ):
        if after.prometheus.get(name):
            yield f"{name} is {after.prometheus[name]:.0f}"
    blind = sum(server.query('count(ALERTS{alertname="SockmonPollFailing"})').values())
    if blind:
        yield f"{blind:.0f} alerts SockmonPollFailing"


def _prometheus_config(fleet: Fleet, files: Path, *, rules: bool) -> str:
    config = yaml.safe_load((SHIPPED / "prometheus.yml").read_text())
    (manager,) = config["alerting"]["alertmanagers"]
    manager["path_prefix"] = "/am"
    if rules:
        shutil.copytree(SHIPPED / "rules", files / "rules")
    else:
        config["rule_files"] = []
    hosts = targets(fleet, f"127.0.0.1:{HOSTS_PORT}")
    (_made(files / "targets") / "fleet.yml").write_text(json.dumps(hosts))  # JSON is YAML
    return yaml.safe_dump(config)


def _manager_config() -> str:
    text = (SHIPPED / "alertmanager.yml").read_text()
    return re.sub(r"http://\w+\.example\.invalid", f"http://127.0.0.1:{HOSTS_PORT}", text)


def block(fleet: Fleet, directory: Path) -> Block:
    """Write two hours of hosts of all kinds as promtool would import them, and weigh the block."""
    start = (int(time.time()) // BLOCK_SECONDS - 1) * BLOCK_SECONDS  # blocks begin at even hours
    chosen = fleet.hosts[:: max(1, len(fleet.hosts) // BLOCK_HOSTS)]
    text = directory / "openmetrics"
    with text.open("w") as out:
        for number, host in enumerate(chosen):
            for series in host.series:
                bare, _, labels = series.name.rstrip("}").partition("{")
                of_host = f'instance="host-{number:04}",job="sockmon"'
                named = f"{bare}{{{','.join(filter(None, (of_host, labels)))}}}"
                for scrape in range(BLOCK_SECONDS // SCRAPE_SECONDS):
                    at = start + scrape * SCRAPE_SECONDS
                    value = value_of(series, number + scrape * STEP, at)
                    out.write(f"{named} {written(value)} {at}\n")
        out.write("# EOF\n")
    program = component("promtool")
    assert program is not None
    blocks = _made(directory / "blocks")
    command = [program, "tsdb", "create-blocks-from", "openmetrics", str(text), str(blocks)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (made,) = blocks.iterdir()
    stats = json.loads((made / "meta.json").read_text())["stats"]
    chunks = _size(made / "chunks")
    return Block(stats["numSamples"], chunks, _size(made) - chunks)


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def _size(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
