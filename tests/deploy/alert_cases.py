"""For each alert and severity: what makes it fire, and what comes close."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tests.deploy.promtool import GONE, Value

Series = Mapping[str, tuple[Value, Value, Value]]  # well, in trouble, almost

_HOST = 'job="sockmon",cluster="eu-1",instance="a"'
_NETNS = f'{_HOST},netns="host"'
_SOCKETS = f'sockmon_sockets{{{_NETNS},protocol="tcp",family="ipv4",state="listen"}}'


def _now(at: int, _: float) -> float:
    return at


def _frozen(_: int, last: float) -> float:
    return last


def _rising(_: int, last: float) -> float:
    return last + 1


def _rising_fast(_: int, last: float) -> float:
    return last + 100


@dataclass(frozen=True, kw_only=True)
class Case:
    """What one rule must do.

    delay, lag: seconds from the trouble's beginning, or end, until the expression follows.
    labels: the alert's own, in addition to those of every alert. says: how its description begins.
    """

    alert: str
    severity: str
    series: Series
    says: str
    delay: int = 0
    lag: int = 0
    labels: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.alert}-{self.severity}"


#: What a host shows that is well. The cases' series go before.
WELL: Series = {
    f"up{{{_HOST}}}": (1, 1, 1),
    f"process_start_time_seconds{{{_HOST}}}": (0, 0, 0),
    f"sockmon_poll_last_success_timestamp_seconds{{{_NETNS}}}": (_now, _now, _now),
    _SOCKETS: (3, 3, 3),
}

_IN_NETNS = {"job": "sockmon", "cluster": "eu-1", "instance": "a", "netns": "host"}


def _found(alert: str, detector: str) -> tuple[Case, Case]:
    """A detector's word: warnings, then critical ones; the other severity comes close to that."""
    warning = f'sockmon_findings{{{_NETNS},detector="{detector}",severity="warning"}}'
    critical = f'sockmon_findings{{{_NETNS},detector="{detector}",severity="critical"}}'
    other = f'sockmon_findings{{{_NETNS},detector="other",severity="critical"}}'
    return (
        Case(
            alert=alert,
            severity="warning",
            series={warning: (0, 2, 0), critical: (0, 0, 0), other: (0, 0, 1)},
            says="Findings: 2.",
            labels=_IN_NETNS,
        ),
        Case(
            alert=alert,
            severity="critical",
            series={warning: (0, 1, 3), critical: (0, 1, 0)},
            says="Findings: 1.",
            labels=_IN_NETNS,
        ),
    )


def _shares(
    alert: str, used: str, limit: str, shares: tuple[float, float], says: tuple[str, str]
) -> tuple[Case, Case]:
    """A share of a limit; almost is a hundredth of the limit less."""
    labels = _IN_NETNS

    def case(severity: str, share: float, text: str) -> Case:
        bad, almost = round(1000 * share), round(1000 * share) - 10
        return Case(
            alert=alert,
            severity=severity,
            series={used: (1, bad, almost), limit: (1000, 1000, 1000)},
            says=text,
            labels=labels,
        )

    return case("warning", shares[0], says[0]), case("critical", shares[1], says[1])


def _still(alert: str, metric: str, text: str) -> tuple[Case, Case]:
    """Connections whose queues stand still, of one direction and port."""
    port = {"direction": "inbound", "port": "80"}
    series = f'{metric}{{{_NETNS},direction="inbound",port="80"}}'

    def case(severity: str, least: int) -> Case:
        return Case(
            alert=alert,
            severity=severity,
            series={series: (0, least, least - 1)},
            says=f"{text}: {least} connections, inbound port 80.",
            labels={**_IN_NETNS, **port},
        )

    return case("warning", 10), case("critical", 100)


_STALE = f'{_NETNS},direction="inbound",port="80",owner="nginx.service"'
_UNIX = f'{_NETNS},path="/run/x.sock"'
_QUEUE = f'{_NETNS},port="80"'
_PORTS = "The busiest destination holds {} of the usable ports."
_BUCKETS = f"sockmon_time_wait_buckets{{{_NETNS}}}"
_BUCKETS_LIMIT = f"sockmon_time_wait_buckets_limit{{{_NETNS}}}"
_USED_MAX = f"sockmon_ephemeral_ports_used_by_busiest_destination{{{_NETNS}}}"
_USABLE = f"sockmon_ephemeral_ports_usable{{{_NETNS}}}"
_EXHAUSTION = f"sockmon_ephemeral_ports_exhaustion_seconds{{{_NETNS}}}"

CASES: tuple[Case, ...] = (
    Case(
        alert="SockmonCloseWaitLeak",
        severity="warning",
        series={f"sockmon_close_wait_stale_sockets{{{_STALE}}}": (0, 1200, 9)},
        says="Stale: 1.2k sockets of nginx.service, inbound port 80.",
        labels={**_IN_NETNS, "direction": "inbound", "port": "80", "owner": "nginx.service"},
    ),
    _found("SockmonCloseWaitLeak", "close_wait_leak")[1],
    *_shares(
        "SockmonTimeWaitPressure",
        _BUCKETS,
        _BUCKETS_LIMIT,
        (0.8, 0.95),
        ("In use: 80% of the buckets.", "In use: 95% of the buckets."),
    ),
    replace(
        _found("SockmonTimeWaitPressure", "time_wait_pressure")[1], says="The buckets run out."
    ),
    *_shares(
        "SockmonEphemeralPortPressure",
        _USED_MAX,
        _USABLE,
        (0.7, 0.9),
        (_PORTS.format("70%"), _PORTS.format("90%")),
    ),
    Case(
        alert="SockmonEphemeralPortPressure",
        severity="critical",
        series={
            _USED_MAX: (40, 60, 49),
            _USABLE: (100, 100, 100),
            _EXHAUSTION: (300, 300, 300),  # a start in a straight line is no news
        },
        says=_PORTS.format("60%"),
        labels=_IN_NETNS,
    ),
    Case(
        alert="SockmonEphemeralPortPressure",
        severity="critical",
        series={
            _USED_MAX: (0, 0, 60),
            _USABLE: (100, 0, 100),
            _EXHAUSTION: (float("inf"), float("inf"), 600),
        },
        says="bind() holds every port.",
        labels=_IN_NETNS,
    ),
    *_found("SockmonFinWait2Stuck", "fin_wait2_stuck"),
    *_found("SockmonConnectStalled", "connect_stalled"),
    *_found("SockmonSynBacklog", "syn_backlog"),
    Case(
        alert="SockmonAcceptQueue",
        severity="warning",
        series={
            f"sockmon_accept_queue_connections{{{_QUEUE}}}": (0, 103, 102),
            f"sockmon_accept_queue_limit{{{_QUEUE}}}": (127, 127, 127),
        },
        says="Waiting: 103 connections to port 80.",
        labels={**_IN_NETNS, "port": "80"},
    ),
    Case(
        alert="SockmonAcceptQueue",
        severity="warning",
        series={
            f"sockmon_accept_queue_connections{{{_QUEUE}}}": (0, 103, 102),
            f"sockmon_accept_queue_limit{{{_QUEUE}}}": (127, 127, 127),
            f'sockmon_findings{{{_NETNS},detector="accept_queue",severity="warning"}}': (0, 1, 0),
        },
        says="Waiting: 103 connections to port 80.",  # and no second alert for the finding
        labels={**_IN_NETNS, "port": "80"},
    ),
    Case(
        alert="SockmonAcceptQueue",
        severity="warning",
        series={
            f"sockmon_unix_accept_queue_connections{{{_UNIX}}}": (0, 103, 102),
            f"sockmon_unix_accept_queue_limit{{{_UNIX}}}": (127, 127, 127),
            f'sockmon_findings{{{_NETNS},detector="accept_queue",severity="warning"}}': (0, 1, 0),
        },
        says="Waiting: 103 connections to /run/x.sock.",
        labels={**_IN_NETNS, "path": "/run/x.sock"},
    ),
    *_found("SockmonAcceptQueue", "accept_queue"),
    *_still("SockmonUnreadData", "sockmon_unread_sockets", "Not read"),
    _found("SockmonUnsentData", "unsent_data")[0],
    _still("SockmonUnsentData", "sockmon_unsent_sockets", "Not taken")[1],
    *_found("SockmonUdpDrops", "udp_drops"),
    *_found("SockmonConnectFailures", "connect_failures"),
    *_found("SockmonSlowClose", "slow_close"),
    *_found("SockmonResetBurst", "reset_burst"),
    *_found("SockmonClosingStalled", "closing_stalled"),
    *_found("SockmonDeadPeer", "dead_peer"),
    *(
        replace(case, labels={**case.labels, "owner": "shop"})
        for case in _shares(
            "SockmonDescriptorPressure",
            f'sockmon_owner_descriptors{{{_NETNS},owner="shop"}}',
            f'sockmon_owner_descriptors_limit{{{_NETNS},owner="shop"}}',
            (0.8, 0.95),
            ("shop uses 80% of its descriptors.", "shop uses 95% of its descriptors."),
        )
    ),
    *_found("SockmonDescriptorPressure", "descriptor_pressure"),
    *_shares(
        "SockmonOrphanPressure",
        f"sockmon_orphan_sockets{{{_HOST}}}",
        f"sockmon_orphan_sockets_limit{{{_HOST}}}",
        (0.25, 0.5),
        ("In use: 25% of the limit.", "In use: 50% of the limit."),
    ),
    *_shares(
        "SockmonTcpMemoryPressure",
        f"sockmon_tcp_memory_bytes{{{_HOST}}}",
        f'sockmon_tcp_memory_limit_bytes{{{_HOST},level="pressure"}}',
        (1.0, 1.0),
        ("In use: 100% of `pressure`.", ""),
    )[:1],
    *_shares(
        "SockmonTcpMemoryPressure",
        f"sockmon_tcp_memory_bytes{{{_HOST}}}",
        f'sockmon_tcp_memory_limit_bytes{{{_HOST},level="high"}}',
        (0.9, 0.9),
        ("", "In use: 90% of `high`."),
    )[1:],
    *_shares(
        "SockmonConntrackPressure",
        f"sockmon_conntrack_entries{{{_NETNS}}}",
        f"sockmon_conntrack_entries_limit{{{_NETNS}}}",
        (0.75, 0.9),
        ("In use: 75% of the table.", "In use: 90% of the table."),
    ),
    Case(
        alert="SockmonConntrackPressure",
        severity="warning",
        series={
            f"sockmon_conntrack_entries{{{_NETNS}}}": (70, 80, 70),
            f"sockmon_conntrack_entries_limit{{{_NETNS}}}": (0, 100, 0),  # 0: there is none
        },
        says="In use: 80% of the table.",
        labels=_IN_NETNS,
    ),
    *(
        Case(
            alert="SockmonConntrackPressure",
            severity=severity,
            series={
                f'sockmon_conntrack_drops_total{{{_NETNS},reason="drop"}}': (
                    _frozen,
                    _rising_fast,
                    _frozen,
                ),
                f'sockmon_conntrack_drops_total{{{_NETNS},reason="insert_failed"}}': (0, 0, 0),
            },
            says="Dropped in 5 minutes: 300 packets.",
            lag=285,
            labels=_IN_NETNS,
        )
        for severity in ("warning", "critical")
    ),
    Case(
        alert="SockmonDown",
        severity="critical",
        series={
            f"up{{{_HOST}}}": (1, 0, 1),
            'up{job="other",instance="a"}': (1, 0, 0),
        },
        says="Nobody watches this host's sockets.",
        labels={"job": "sockmon", "cluster": "eu-1", "instance": "a"},
    ),
    Case(
        alert="SockmonPollFailing",
        severity="warning",
        series={
            f'sockmon_poll_errors_total{{{_NETNS},reason="denied"}}': (_frozen, _rising, _frozen)
        },
        says="Failed reads within 5 minutes: 20.",
        lag=285,
        labels=_IN_NETNS,
    ),
    Case(
        alert="SockmonPollFailing",
        severity="critical",
        series={
            f"sockmon_poll_last_success_timestamp_seconds{{{_NETNS}}}": (
                _now,
                _frozen,
                lambda at, _: at - 75,
            ),
            _SOCKETS: (3, GONE, GONE),
        },
        says="The last good poll was 2m 30s ago, or never.",
        delay=75,
        labels=_IN_NETNS,
    ),
)
