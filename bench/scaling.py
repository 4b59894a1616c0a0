"""What a fleet costs: `python -m bench.scaling` (root), in five minutes.

Hosts of three kinds are played by real sockets and recorded; a Prometheus with what deploy/ ships
scrapes many replays of them. With --containers: what network namespaces add to one host's page, in
a minute. All of it happens in network namespaces of its own, and in a PID
namespace, so that nothing outlives it.
"""

import argparse
import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from bench import report
from bench.hosts import KINDS, LEAK, SETTLE_SECONDS, Kind, Recording, record, traffic
from bench.replay import Fleet
from bench.watching import SCRAPE_SECONDS, Block, Watched, asked_for, block, watch
from tests.conftest import component
from tests.lab import NetNs, experiments, linked
from tests.resident import name_of, resident
from tests.running import running_daemon

HOSTS = 1000
MOST_HOSTS = 1500  # within 4 GB
WINDOW_SECONDS = 120
DESCRIPTORS = 20_000
TIME_LIMIT_SECONDS = 300  # beyond the window
DAY = 86_400
RETENTION_DAYS = 15  # Prometheus's default
PROGRAMS = ("prometheus", "promtool", "prometheus-alertmanager")
IN_A_NAMESPACE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")

CONTAINERS = (
    Kind("idle", 0.0, listens=1, calls=0, held=4, brief=1),
    Kind("typical", 0.0, listens=2, calls=4, held=10, brief=5),
    Kind("leaking", 0.0, listens=2, calls=4, held=10, brief=5, leaked=12),
    Kind("gateway", 0.0, listens=40, calls=30, held=10, brief=50),
)


def containers_table(directory: Path) -> list[str]:
    """Play containers, and count the series that each adds to the page of a daemon outside."""
    config = directory / "containers.json"
    config.write_text(json.dumps(LEAK | {"poll": {"namespaces": "all", "interval": "1s"}}))
    with ExitStack() as stack:
        daemon = stack.enter_context(
            running_daemon(stack.enter_context(NetNs()), "--config", str(config))
        )
        names = []
        for kind in CONTAINERS:
            link = stack.enter_context(linked())
            stack.enter_context(resident(link.server))
            if kind.leaked:
                stack.enter_context(experiments.unclosed(link.server, count=kind.leaked))
            stack.enter_context(traffic(link, kind))
            names.append(name_of(link.server))
        time.sleep(SETTLE_SECONDS)
        page = daemon.get("/metrics").body.decode()
    samples = [s for family in text_string_to_metric_families(page) for s in family.samples]
    series = Counter(sample.labels.get("netns") for sample in samples)
    ages = Counter(s.labels["netns"] for s in samples if s.name.startswith("sockmon_aged_sockets"))
    ports = Counter(s.labels["netns"] for s in samples if s.name.startswith("sockmon_port_"))
    return [
        "container ports series  of ages  of ports",
        *(
            f"{kind.name:<9} {kind.listens + kind.calls:>5} {series[name]:>6,} {ages[name]:>8,}"
            f" {ports[name]:>9,}"
            for kind, name in zip(CONTAINERS, names, strict=True)
        ),
    ]


def hosts_table(recordings: Sequence[Recording]) -> list[str]:
    return [
        "host     share ports sockets series in rules      page  gzipped    CPU      RSS",
        *(
            f"{r.kind.name:<8} {r.kind.share:>5.0%} {r.kind.listens + r.kind.calls:>5}"
            f" {r.sockets:>7,} {r.series:>6,} {asked_for(r):>8,} {r.plain:>7,} B {r.zipped:>6,} B"
            f" {r.cpu:>6.2%} {report.megabytes(r.resident):>8}"
            for r in recordings
        ),
    ]


def fleet_table(seen: Watched, made: Block) -> list[str]:
    chunk_bytes = made.chunks / made.samples
    whole = (made.chunks + made.rest) / made.samples
    scrapes = seen.hosts / SCRAPE_SECONDS
    day = seen.samples * DAY * whole
    rows = [
        ("series", seen.series, f"{seen.series / seen.hosts:,.0f} a host"),
        ("recorded by rules", seen.recorded, f"{seen.recorded_per_host:,.0f} of them by host"),
        ("samples/s", seen.samples, f"{seen.samples / scrapes:,.0f} a scrape"),
        ("CPU, ms/s", seen.cpu * 1e3, f"{seen.cpu / scrapes * 1e3:.2f} ms a scrape"),
        ("an evaluation, ms", seen.rules * 1e3, "all rules, by the clock"),
        ("RSS, MB", seen.resident / 1e6, f"{seen.resident / seen.series:,.0f} B a series"),
        ("network, kB/s", seen.wire / 1e3, f"{seen.wire / scrapes:,.0f} B a scrape, headers too"),
        ("disk, MB a day", day / 1e6, f"{chunk_bytes:.2f} B/sample, {whole:.2f} with the index"),
        (f"disk, GB in {RETENTION_DAYS} days", day * RETENTION_DAYS / 1e9, "in blocks of 2 h"),
        ("write-ahead log, B/sample", seen.wal_per_sample, "kept for two to three hours"),
        ("alerts firing", seen.firing, "a leak on every busy host"),
        ("alerts told in a minute", seen.alerts * 60, "by the rules"),
        ("Alertmanager, CPU, ms/s", seen.manager_cpu * 1e3, _each_alert(seen)),
        ("Alertmanager, RSS, MB", seen.manager_resident / 1e6, ""),
    ]
    return [
        f"Prometheus, {seen.hosts:,} hosts, {'with' if seen.rules else 'without'} rules",
        *(f"{name:<28} {value:>11,.1f}  {remark}".rstrip() for name, value, remark in rows),
    ]


def _each_alert(seen: Watched) -> str:
    return f"{seen.manager_cpu / seen.alerts * 1e3:.2f} ms an alert" if seen.alerts else ""


def run(hosts: int, seconds: int, directory: Path, *, rules: bool) -> int:
    print("scaling: three kinds of hosts, then Prometheus ...", file=sys.stderr, flush=True)
    with ThreadPoolExecutor(len(KINDS)) as pool:
        recordings = list(pool.map(lambda kind: record(kind, directory), KINDS))
    fleet = Fleet(recordings, hosts)
    made = block(fleet, directory)
    seen = watch(fleet, directory, seconds, rules=rules)
    print(report.machine())
    print(f"Load average at the end: {os.getloadavg()[0]:.1f}\n")
    print("\n".join(hosts_table(recordings)), end="\n\n")
    print("\n".join(fleet_table(seen, made)))
    for trouble in seen.health:
        print(f"Not to be trusted: {trouble}")
    return 1 if seen.health else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=__doc__)
    parser.add_argument("--hosts", type=int, default=HOSTS, help="to replay; default: %(default)s")
    parser.add_argument(
        "--seconds", type=int, default=WINDOW_SECONDS, help="measured; default: %(default)s"
    )
    parser.add_argument(
        "--no-rules", action="store_true", help="scrape alone: what is less is what rules cost"
    )
    parser.add_argument(
        "--containers", action="store_true", help="only count what namespaces add to a page"
    )
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("needs root: it makes namespaces")
    if not 10 <= arguments.hosts <= MOST_HOSTS:
        parser.error(f"--hosts: from 10 to {MOST_HOSTS}")
    if arguments.seconds < SCRAPE_SECONDS:
        parser.error(f"--seconds: at least {SCRAPE_SECONDS}, a scrape")
    missing = [name for name in PROGRAMS if component(name) is None]
    if missing:
        parser.error(f"needs {', '.join(missing)}: tests/install-components unpacks them")
    if os.getpid() != 1:
        os.execvp(
            IN_A_NAMESPACE[0],
            [*IN_A_NAMESPACE, sys.executable, "-m", "bench.scaling", *sys.argv[1:]],
        )
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    signal.alarm(TIME_LIMIT_SECONDS + arguments.seconds)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(DESCRIPTORS, hard), hard))
    with tempfile.TemporaryDirectory() as directory:
        if arguments.containers:
            print("\n".join(containers_table(Path(directory))))
            return 0
        return run(
            arguments.hosts, arguments.seconds, Path(directory), rules=not arguments.no_rules
        )


if __name__ == "__main__":
    sys.exit(main())
