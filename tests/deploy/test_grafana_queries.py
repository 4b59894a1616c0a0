"""Every query of the dashboards, as Grafana would send it, on a real Prometheus: all return data.

It has scraped three hosts: alpha has all troubles at once, and containers of which one leaks; beta
cannot read a part of what it watches; gamma is down.
"""

import json
import math
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from sockmon.drill.counting import offer
from tests.deploy.grafana_boards import BOARDS, panels
from tests.deploy.grafana_hosts import (
    LEAKED,
    LEAKED_IN_BLUE,
    containers,
    growing,
    seeing,
    troubles,
)
from tests.deploy.promtool import PROMETHEUS
from tests.lab import SERVER, eventually, linked
from tests.running import PORT, running_daemon
from tests.servers import Prometheus, prometheus

pytestmark = [pytest.mark.root, pytest.mark.component("prometheus")]

HOSTS = ["alpha.example", "beta.example", "gamma.example"]  # names that need escaping
DOWN = HOSTS[2]
RANGE_SECONDS = 180  # more than the test takes: what has had data once is not missed

QUICK = """
poll: {interval: 250ms, namespaces: %s, top_namespaces: 2, cpu_budget: 0.5}
ports: {top: 3, top_per_namespace: 1}
events: {enabled: %s, helper_socket: %s}
detect:
  close_wait_leak: {stale_after: 1s, for: 1s}
  closing_stalled: {stalled_after: 1s, warning_sockets: 2}
"""

#: What there is to choose from, at least.
OFFERED: Mapping[str, set[str]] = {
    "cluster": {"test"},
    "job": {"sockmon"},
    "instance": set(HOSTS),
    "netns": {"host", "blue", "other"},
    "port": {"other"},
}

#: What shows 0 where there is nothing: it would hide that there is no data.
STAND_IN = re.compile(r"( or (vector\((0|NaN)\)|0 \* .+))+$")

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
    known = {**values, "__rate_interval": "4s", "__interval": "1s", "__range": f"{RANGE_SECONDS}s"}

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
    for part in [*panels(board), *board["annotations"]["list"]]:
        for target in [*part.get("targets", []), *([part["target"]] if "target" in part else [])]:
            where = f"{board['uid']}: {part.get('title') or part['name']} {target['refId']}"
            yield Query(where, substituted(target["expr"], values), bool(target["instant"]))


def all_queries(offered: Mapping[str, list[str]]) -> list[Query]:
    """With "All" chosen everywhere, and with every value chosen by name."""
    found: list[Query] = []
    for board in BOARDS.values():
        labels = board["templating"]["list"][1:]
        every = {v["name"]: v.get("allValue") or offered[v["name"]] for v in labels}
        for values in (every, offered):
            one_host = {v["name"]: HOSTS[0] for v in labels if not v["multi"]}
            found += [
                replace(query, expression=STAND_IN.sub("", query.expression))
                for query in queries(board, {**values, **one_host})
            ]
    return found


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
    listen = ("--web.listen-address", f"0.0.0.0:{PORT}")
    with (
        linked() as link,
        troubles(link.server) as experiment,
        containers() as inside,
    ):
        events = offer()
        (tmp_path / "all").write_text(QUICK % ("all", "true", events.socket))
        (tmp_path / "host").write_text(QUICK % ("host", "false", events.socket))
        whole = seeing(link.server, tmp_path / "alpha", inside, **OF_THE_HOST)
        torn = seeing(link.client, tmp_path / "beta", tcp_fin_timeout="soon\n")
        with (
            running_daemon(link.server, "--config", f"{tmp_path}/all", *listen, prefix=whole),
            running_daemon(link.client, "--config", f"{tmp_path}/host", prefix=torn),
            # At beta's, where there are ports to connect from.
            prometheus(link.client, tmp_path, yaml.safe_dump(config)) as made,
            growing(experiment),
        ):
            yield made


def test_every_query_returns_data(server: Prometheus) -> None:
    names = variables(server)
    assert {name: set(names[name]) for name in ("cluster", "job", "instance")} == {
        name: OFFERED[name] for name in ("cluster", "job", "instance")
    }
    assert set(names["netns"]) <= OFFERED["netns"] | {"green", "grey"}
    waiting = all_queries(names)
    assert len(waiting) > 200
    if not server.netns.call(Path("/proc/sys/net/netfilter/nf_conntrack_max").exists):
        waiting = [query for query in waiting if "conntrack" not in query.expression]

    def empty() -> list[str]:
        waiting[:] = [query for query in waiting if not query.values(server)]
        return [f"{query.where}: {query.expression}" for query in waiting]

    eventually(empty, until=lambda left: left == [])

    def wrong() -> list[str]:
        blue: Values = {**names, "instance": HOSTS[0], "netns": ["blue"]}
        in_blue = [query for board in BOARDS.values() for query in queries(board, blue)]
        return [
            f"{query.where}: {values}, not {numbers[query.where]}"
            for asked, numbers in ((all_queries(names), NUMBERS), (in_blue, IN_BLUE))
            for query in asked
            if query.where in numbers
            and (values := query.values(server)[-1:]) != [numbers[query.where]]
        ]

    eventually(wrong, until=lambda left: left == [])
    for table, worst in WORST.items():
        expected = {(HOSTS[0], netns): severity for netns, severity in worst.items()}
        eventually(partial(verdicts, server, all_queries(names), table), until=expected.__eq__)
    leaks = {("host", "warning"): LEAKED, ("blue", "warning"): LEAKED_IN_BLUE}
    eventually(partial(found_leaks, server, all_queries(names)), until=leaks.__eq__)
    assert shown_of_a_host_that_is_down(server, names) == {
        "sockmon-host: Verdict A",
        "sockmon-host: Alerts A",
        "sockmon-host: Critical alerts Anno",
        "sockmon-close-wait: Critical alerts Anno",
    }


def found_leaks(server: Prometheus, asked: list[Query]) -> dict[tuple[str, str], float]:
    """The leaks in the table of findings, each with an owner and a port: how many sockets."""
    expression = next(
        query.expression for query in asked if query.where == "sockmon-host: Findings A"
    )
    found = ((json.loads(labels), value) for labels, value in server.query(expression).items())
    return {
        (labels["netns"], labels["severity"]): value
        for labels, value in found
        if labels["detector"] == "close_wait_leak" and labels["owner"] and labels["port"]
    }


def shown_of_a_host_that_is_down(server: Prometheus, offered: Values) -> set[str]:
    """Which of the queries about sockets return anything, be it a zero."""
    here = {**offered, "instance": DOWN}
    return {
        query.where
        for uid in ("sockmon-host", "sockmon-close-wait")
        for query in queries(BOARDS[uid], here)
        if query.values(server)
    }


def verdicts(server: Prometheus, asked: list[Query], table: str) -> dict[tuple[str, str], float]:
    """The rows of a table of namespaces, by host and namespace."""
    expression = next(query.expression for query in asked if query.where == table)
    found = ((json.loads(labels), value) for labels, value in server.query(expression).items())
    return {(labels["instance"], labels["netns"]): value for labels, value in found}


#: What some figures must show of all, at the end.
NUMBERS = {
    "sockmon-fleet: Hosts A": 3,
    "sockmon-fleet: Down A": 1,
    "sockmon-fleet: Critical A": 1,
    "sockmon-fleet: Warning A": 0,
    "sockmon-fleet: Healthy A": 1,
    "sockmon-host: Verdict A": 2,
    "sockmon-host: Stale CLOSE_WAIT A": LEAKED + LEAKED_IN_BLUE,
    "sockmon-close-wait: All CLOSE_WAIT A": LEAKED + LEAKED_IN_BLUE,
    "sockmon-close-wait: Hosts that leak A": 1,
    "sockmon-close-wait: Namespaces that leak A": 2,
    "sockmon-health: Down A": 1,
    "sockmon-health: Blind A": 0,
}

#: The namespaces with any finding; the ports of alpha's own run out.
WORST = {
    "sockmon-fleet: Namespaces, worst first A": {"host": 2, "blue": 1},
    "sockmon-close-wait: Namespaces that leak, worst first A": {"host": 1, "blue": 1},
}

#: What they must show of one namespace alone.
IN_BLUE = {
    "sockmon-host: Verdict A": 1,
    "sockmon-host: Stale CLOSE_WAIT A": LEAKED_IN_BLUE,
    "sockmon-close-wait: Stale CLOSE_WAIT A": LEAKED_IN_BLUE,
    "sockmon-close-wait: Namespaces that leak A": 1,
}


def variables(server: Prometheus) -> dict[str, list[str]]:
    """What the host's dashboard offers, each variable asked with the values of those before."""
    board = BOARDS["sockmon-host"]
    offered: dict[str, list[str]] = {}
    chosen: dict[str, str | list[str]] = {}
    for variable in board["templating"]["list"][1:]:
        query = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
        assert query is not None
        assert query[2] == variable["name"]
        name, series = query[2], substituted(query[1], chosen)
        offered[name] = eventually(
            partial(_label_values, server, name, series),
            until=OFFERED[name].issubset,
        )
        chosen[name] = offered[name] if variable["multi"] else offered[name][0]
    return offered


def _label_values(server: Prometheus, label: str, series: str) -> list[str]:
    return server.api(f"label/{label}/values", **{"match[]": series}) or []
