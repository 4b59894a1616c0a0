"""What is chosen above a dashboard: data source, clusters, jobs, hosts, namespaces, ports."""

from collections.abc import Mapping
from typing import Any

from grafana_foundation_sdk.models.dashboard import (
    VariableModel,
    VariableOption,
    VariableRefresh,
    VariableSort,
    VariableType,
)

from grafana.panels import DATASOURCE
from grafana.queries import FLEET, HOSTS, NETNS

_LABEL_VALUES = 1  # PromVariableQueryType.LabelValues of packages/grafana-prometheus
_REF_ID = "PrometheusVariableQueryEditor-VariableQuery"

#: By the label's name: what it is called above the dashboard, and the series that have it.
_LABELS: Mapping[str, tuple[str, str]] = {
    "cluster": ("Cluster", "sockmon_build_info"),
    "job": ("Job", 'sockmon_build_info{cluster=~"$cluster"}'),
    "instance": ("Host", f"up{{{FLEET}}}"),  # those that are down too
    "netns": ("Namespace", f"sockmon_sockets{{{HOSTS}}}"),
    "port": ("Port", f"sockmon_port_sockets{{{HOSTS},{NETNS}}}"),
}

#: All values: short where there are a thousand, and true of a label that is not there.
_ANY = ".*"
#: But other jobs than sockmon's are not meant: of jobs, all are those that Grafana has listed.
_LISTED = frozenset(["job"])

#: What the SDK would say of a variable of another kind.
_NO_INTERVAL: Mapping[str, Any] = {"auto": None, "auto_min": None, "auto_count": None}


def data_source() -> VariableModel:
    """Which Prometheus is asked."""
    return VariableModel(
        type_val=VariableType.DATASOURCE,
        name="datasource",
        label="Data source",
        query="prometheus",
        **_NO_INTERVAL,
    )


def several(name: str) -> VariableModel:
    """Any number of the label's values, at first all of them."""
    return _label(
        name,
        multi=True,
        include_all=True,
        all_value=None if name in _LISTED else _ANY,
        current=VariableOption(selected=True, text=["All"], value=["$__all"]),
    )


def one(name: str) -> VariableModel:
    """One of the label's values, at first the first."""
    return _label(name)


def _label(name: str, **choice: Any) -> VariableModel:
    label, series = _LABELS[name]
    return VariableModel(
        type_val=VariableType.QUERY,
        name=name,
        label=label,
        datasource=DATASOURCE,
        query={
            "qryType": _LABEL_VALUES,
            "query": f"label_values({series}, {name})",
            "refId": _REF_ID,
        },
        refresh=VariableRefresh.ON_TIME_RANGE_CHANGED,
        sort=VariableSort.NATURAL_ASC,
        **_NO_INTERVAL,
        **choice,
    )
