"""Network namespaces, worst first: the tables that name the container behind a host's trouble."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import table

from grafana import limits
from grafana.panels import About
from grafana.queries import ports_used, rows, share, verdict
from grafana.scales import VERDICTS
from grafana.tables import MOST_ROWS, Column, listing

VERDICT = Column(heading="Verdict", meanings=VERDICTS)
STALE = Column(heading="Stale CLOSE_WAIT", scale=limits.STALE_SOCKETS)
OLDEST = Column(heading="Oldest", unit="s", scale=limits.CLOSE_WAIT_AGE)


def namespaces(
    about: About, columns: Sequence[Column], by: str, labels: str, among: str | None = None
) -> table.Panel:
    """How each namespace fares. columns: those of `by`, its labels; labels: what is looked at.

    among: a query whose series, by the same labels, are the only ones shown.
    """
    of = f"{{{labels}}}"
    buckets = share("sockmon_time_wait_buckets", "sockmon_time_wait_buckets_limit", labels)
    chosen = f" and {among}" if among else ""
    figures = (
        f"max by ({by}) ({verdict(labels)})",
        f"sum by ({by}) (sockmon_findings{of})",
        f"sum by ({by}) (sockmon_close_wait_stale_sockets{of})",
        f"max by ({by}) (sockmon_close_wait_oldest_seconds{of})",
        f"max by ({by}) ({ports_used(labels)})",
        f"max by ({by}) ({buckets})",
        f'sum by ({by}) (sockmon_sockets{{{labels},protocol="tcp"}})',
    )
    return listing(
        about,
        [
            *columns,
            VERDICT,
            Column(heading="Findings", scale=limits.ANY_WARNS),
            STALE,
            OLDEST,
            Column(heading="Ephemeral ports", unit="percentunit", scale=limits.PORTS),
            Column(heading="TIME_WAIT buckets", unit="percentunit", scale=limits.TIME_WAIT),
            Column(heading="TCP sockets"),
        ],
        *(rows(figure + chosen) for figure in figures),
    )


def worst(expression: str) -> str:
    """Those above zero, and of them no more than a table can show."""
    return f"topk({MOST_ROWS}, {expression} > 0)"
