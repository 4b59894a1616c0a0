"""What the dashboards ask Prometheus: label matchers by the variables, and queries by their use.

Sources: Grafana, packages/grafana-prometheus, interpolateQueryExpr(): a variable that may have
several values comes as a regular expression, escaped for a string of PromQL. `${instance:regex}`
would not be: a dot in a host's name makes its query an error.
"""

from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.models.prometheus import PromQueryFormat, QueryEditorMode

#: The chosen clusters and jobs. A cluster that targets do not have matches `.*` too.
FLEET = 'cluster=~"$cluster",job=~"$job"'
#: Of those the chosen hosts, and one host alone.
HOSTS = f'{FLEET},instance=~"$instance"'
HOST = f'{FLEET},instance="$instance"'
NETNS = 'netns=~"$netns"'
PORT = 'port=~"$port"'

#: What tells one host from another: two clusters may have hosts of one name.
BY_HOST = "cluster, job, instance"
HOST_LEGEND = "{{cluster}} {{instance}}"
#: And one network namespace from another.
BY_NETNS = f"{BY_HOST}, netns"
NETNS_LEGEND = f"{HOST_LEGEND} {{{{netns}}}}"

#: Enough for the eye; more lines are noise.
TOP = 10

Query = prometheus.Dataquery


def over_time(expression: str, legend: str) -> Query:
    """A line for each series; `legend` names its labels as {{label}}."""
    return _query(expression).range().format(PromQueryFormat.TIME_SERIES).legend_format(legend)


def largest(expression: str, legend: str, top: int = TOP) -> Query:
    """The same for the series that were largest at any time of the range shown."""
    return _ranked(expression, legend, f"topk({top}, max_over_time")


def smallest(expression: str, legend: str, top: int = TOP) -> Query:
    """The same for the smallest."""
    return _ranked(expression, legend, f"bottomk({top}, min_over_time")


def _ranked(expression: str, legend: str, best: str) -> Query:
    # Ranked once, at `@ end()`: topk() alone would choose other series at each step.
    once = f"{best}(({expression})[$__range:$__interval] @ end()))"
    return over_time(f"({expression}) and {once}", legend)


def buckets(expression: str) -> Query:
    """A histogram's buckets over time, as the data source makes a heatmap of them."""
    return _query(expression).range().format(PromQueryFormat.HEATMAP).legend_format("{{le}}")


def rows(expression: str) -> Query:
    """The newest value of each series, its labels as columns."""
    return _query(expression).instant().format(PromQueryFormat.TABLE)


def share(used: str, limit: str, labels: str) -> str:
    """How much of a limit is in use, as a ratio; without a limit (0) there is no share."""
    return f"{used}{{{labels}}} / ({limit}{{{labels}}} > 0)"


def ports_used(labels: str) -> str:
    """The share of ephemeral ports in use; where bind() holds every one none is left: all."""
    of_usable = share(
        "sockmon_ephemeral_ports_used_by_busiest_destination",
        "sockmon_ephemeral_ports_usable",
        labels,
    )
    return f"{of_usable} or (sockmon_ephemeral_ports_usable{{{labels}}} == 0) + 1"


def verdict(labels: str) -> str:
    """Each finding's severity: 2 critical, 1 warning, 0 where there is none. For max()."""
    critical = f'sockmon_findings{{{labels},severity="critical"}}'
    warning = f'sockmon_findings{{{labels},severity="warning"}}'
    return f"2 * sgn({critical}) or sgn({warning})"


def or_zero(expression: str, known: str) -> str:
    """What there is nothing of is 0, but only where `known` tells that somebody has looked."""
    return f"{expression} or 0 * {known}"


def _query(expression: str) -> Query:
    return prometheus.Dataquery().expr(expression).editor_mode(QueryEditorMode.CODE)
