"""Every query of the dashboards, as Grafana would send it, on a real Prometheus: all return data.

It has scraped three hosts: alpha has all troubles at once, beta cannot read a part of what it
watches, gamma is down.
"""

import json
import math
import re
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana.generate import DIRECTORY
from sockmon.kernel.procfs import FILES
from tests.deploy.promtool import PROMETHEUS
from tests.lab import SERVER, NetNs, eventually, experiments, linked, states
from tests.lab.experiments import PortExhaustion
from tests.running import PORT, running_daemon
from tests.servers import Prometheus, prometheus

pytestmark = [pytest.mark.root, pytest.mark.component("prometheus")]

BOARDS = [json.loads(path.read_text()) for path in sorted(DIRECTORY.glob("*.json"))]
HOSTS = ["alpha.example", "beta.example", "gamma.example"]  # names that need escaping
DOWN = HOSTS[2]
LEAKED = 12
RANGE_SECONDS = 60

QUICK = """
poll: {interval: 250ms}
ports: {top: 3}
detect:
  close_wait_leak: {stale_after: 1s, for: 1s}
  closing_stalled: {stalled_after: 1s, warning_sockets: 2}
"""

#: What shows 0 where there is nothing: it would hide that there is no data.
STAND_IN = re.compile(r" or (vector\(0\)|0 \* .+)$")

#: What the kernel tells only in the host's own network namespace, where no test's daemon is.
OF_THE_HOST = {"tcp_mem": "188000\t251000\t377000\n", "tcp_max_orphans": "65536\n"}

Values = Mapping[str, str | list[str]]


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a dashboard, with nothing left to be substituted."""

    where: str
    expression: str
    instant: bool

    def values(self, server: Prometheus) -> list[float]:
        """All samples that are numbers: what Grafana would have to draw."""
        now = time.time()
        if self.instant:
            data = server.api("query", query=self.expression, time=f"{now}")
        else:
            start = f"{now - RANGE_SECONDS}"
            data = server.api(
                "query_range", query=self.expression, start=start, end=f"{now}", step="1s"
            )
        assert data is not None, f"{self.where}: Prometheus refuses {self.expression}"
        samples = [
            sample
            for series in data["result"]
            for sample in series.get("values", [series.get("value")])
        ]
        return [value for _, text in samples if math.isfinite(value := float(text))]


def substituted(expression: str, values: Values) -> str:
    """As packages/grafana-prometheus does it: interpolateQueryExpr() in datasource.ts."""
    # The data source's scrape interval is 1s here, and the panels' step as well.
    known = {**values, "__rate_interval": "4s", "__range": f"{RANGE_SECONDS}s"}

    def one(match: re.Match[str]) -> str:
        value = known.get(match[1] or match[2])
        if value is None:
            return match[0]
        if isinstance(value, str):
            return value
        escaped = [re.sub(r"[$^*{}\[\]+?.()|]", r"\\\\\g<0>", item) for item in value]
        return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"

    return re.sub(r"\$(\w+)|\$\{(\w+)}", one, expression)


def queries(board: Mapping[str, Any], values: Values) -> Iterator[Query]:
    """Yield those of panels and annotations."""
    for part in [*board["panels"], *board["annotations"]["list"]]:
        for target in [*part.get("targets", []), *([part["target"]] if "target" in part else [])]:
            where = f"{board['uid']}: {part.get('title') or part['name']} {target['refId']}"
            yield Query(where, substituted(target["expr"], values), bool(target["instant"]))


def all_queries(offered: Mapping[str, list[str]]) -> list[Query]:
    """With "All" chosen everywhere, and with every value chosen by name."""
    found: list[Query] = []
    for board in BOARDS:
        labels = board["templating"]["list"][1:]
        every = {v["name"]: v.get("allValue") or offered[v["name"]] for v in labels}
        for values in (every, offered):
            one_host = {v["name"]: HOSTS[0] for v in labels if not v["multi"]}
            found += [
                replace(query, expression=STAND_IN.sub("", query.expression))
                for query in queries(board, {**values, **one_host})
            ]
    return found


@contextmanager
def troubles(netns: NetNs) -> Iterator[PortExhaustion]:
    """All at once, in one namespace; using up its ports is left to the body."""
    with ExitStack() as stack:
        stack.enter_context(experiments.process_killed(netns, count=LEAKED))
        stack.enter_context(states.time_wait(netns, count=5))
        stack.enter_context(states.last_ack(netns, count=3))
        stack.enter_context(experiments.accept_queue(netns))
        yield stack.enter_context(experiments.port_exhaustion(netns, ports=60))


@contextmanager
def growing(experiment: PortExhaustion) -> Iterator[None]:
    """Connect again and again: only a use that grows has a forecast. The last ports stay free."""
    done = threading.Event()

    def grow() -> None:
        for _ in range(experiment.ports - 5):
            experiment.connect(experiment.listeners[0])
            if done.wait(0.5):
                return

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def seeing(netns: NetNs, directory: Path, **settings: str) -> tuple[str, ...]:
    """How to start a daemon that reads these net.ipv4 settings, and the namespace's own others."""
    directory.mkdir()
    for name in FILES:
        file = Path("/proc", name)
        if file.match("sys/net/ipv4/*") and netns.call(file.exists):
            (directory / file.name).write_bytes(netns.call(file.read_bytes))
    for name, value in settings.items():
        (directory / name).write_text(value)
    mounted = f'mount --bind {directory} /proc/sys/net/ipv4 && exec "$@"'
    return ("unshare", "--mount", "sh", "-c", mounted, "sh")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Prometheus]:
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"].update(scrape_interval="1s", scrape_timeout="1s", evaluation_interval="1s")
    shutil.copytree(PROMETHEUS / "rules", tmp_path / "rules")
    alerts = tmp_path / "rules" / "sockmon-alerts.yml"
    alerts.write_text(re.sub(r"for: \w+", "for: 1s", alerts.read_text()))
    (tmp_path / "targets").mkdir()
    addresses = [f"{SERVER.ipv4}:{PORT}", f"127.0.0.1:{PORT}", "127.0.0.1:1"]
    targets = [
        {"targets": [address], "labels": {"instance": host, "cluster": "test"}}
        for address, host in zip(addresses, HOSTS, strict=True)
    ]
    (tmp_path / "targets" / "fleet.yml").write_text(yaml.safe_dump(targets))
    # What else a Prometheus scrapes is not sockmon's: nothing of it may be shown, or counted.
    other = {"job_name": "other", "static_configs": [{"targets": ["127.0.0.1:2"]}]}
    config["scrape_configs"].append(other)
    quick = tmp_path / "sockmon.yaml"
    quick.write_text(QUICK)
    listen = ("--web.listen-address", f"0.0.0.0:{PORT}")
    with linked() as link, troubles(link.server) as experiment:
        whole = seeing(link.server, tmp_path / "alpha", **OF_THE_HOST)
        torn = seeing(link.client, tmp_path / "beta", tcp_fin_timeout="soon\n")
        with (
            running_daemon(link.server, "--config", str(quick), *listen, prefix=whole),
            running_daemon(link.client, "--config", str(quick), prefix=torn),
            # At beta's, where there are ports to connect from.
            prometheus(link.client, tmp_path, yaml.safe_dump(config)) as made,
            growing(experiment),
        ):
            yield made


def test_every_query_returns_data(server: Prometheus) -> None:
    names = variables(server)
    assert names["cluster"] == ["test"]
    assert names["job"] == ["sockmon"]
    assert names["instance"] == HOSTS
    assert names["netns"] == ["host"]
    assert "other" in names["port"]
    waiting = all_queries(names)
    assert len(waiting) > 200
    if not server.netns.call(Path("/proc/sys/net/netfilter/nf_conntrack_max").exists):
        waiting = [query for query in waiting if "conntrack" not in query.expression]

    def empty() -> list[str]:
        waiting[:] = [query for query in waiting if not query.values(server)]
        return [f"{query.where}: {query.expression}" for query in waiting]

    eventually(empty, until=lambda left: left == [], within=40)

    def wrong() -> list[str]:
        return [
            f"{query.where}: {values}"
            for query in all_queries(names)
            if query.where in NUMBERS and (values := query.values(server)) != NUMBERS[query.where]
        ]

    eventually(wrong, until=lambda left: left == [], within=20)
    assert shown_of_a_host_that_is_down(server, names) == {
        "sockmon-host: sockmon A",
        "sockmon-host: Alerts A",
        "sockmon-host: Critical alerts Anno",
        "sockmon-close-wait: Critical alerts Anno",
    }


def shown_of_a_host_that_is_down(server: Prometheus, offered: Values) -> set[str]:
    """Which of the queries about sockets return anything, be it a zero."""
    here = {**offered, "instance": DOWN}
    return {
        query.where
        for board in BOARDS
        if board["uid"] in ("sockmon-host", "sockmon-close-wait")
        for query in queries(board, here)
        if query.values(server)
    }


#: What some figures must show.
NUMBERS = {
    "sockmon-fleet: Hosts A": [3],
    "sockmon-fleet: Down A": [1],
    "sockmon-fleet: Critical A": [1],
    "sockmon-fleet: Warning A": [0],
    "sockmon-fleet: Well A": [1],
    "sockmon-host: sockmon A": [1],
    "sockmon-host: Verdict A": [2],
    "sockmon-host: Stale CLOSE_WAIT A": [LEAKED],
    "sockmon-close-wait: All CLOSE_WAIT A": [LEAKED],
    "sockmon-close-wait: Hosts that leak A": [1],
    "sockmon-health: Down A": [1],
}


def variables(server: Prometheus) -> dict[str, list[str]]:
    """What the host's dashboard offers, each variable asked with the values of those before."""
    (board,) = (board for board in BOARDS if board["uid"] == "sockmon-host")
    offered: dict[str, list[str]] = {}
    chosen: dict[str, str | list[str]] = {}
    for variable in board["templating"]["list"][1:]:
        query = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
        assert query is not None
        assert query[2] == variable["name"]
        name, series = query[2], substituted(query[1], chosen)
        offered[name] = eventually(
            partial(_label_values, server, name, series),
            until=partial(_at_least, len(HOSTS) if name == "instance" else 1),
            within=20,
        )
        chosen[name] = offered[name] if variable["multi"] else offered[name][0]
    return offered


def _label_values(server: Prometheus, label: str, series: str) -> list[str]:
    return server.api(f"label/{label}/values", **{"match[]": series}) or []


def _at_least(count: int, values: list[str]) -> bool:
    return len(values) >= count
