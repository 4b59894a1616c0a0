"""Tables: queries' labels and values as columns, worst first, with links from their cells."""

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import common, table
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import FieldTextAlignment
from grafana_foundation_sdk.models.dashboard import (
    DataTransformerConfig,
    DynamicConfigValue,
    Threshold,
    ThresholdsConfig,
    ThresholdsMode,
    ValueMap,
)

from grafana.panels import About, introduced
from grafana.queries import Query
from grafana.scales import SEVERITIES, Scale
from sockmon.alert.labels import RUNBOOKS

_COLORED = {"type": "color-background", "mode": "basic"}
_ITS_NETNS = "var-netns=${__data.fields.netns:percentencode}"

#: Where there may be thousands; who has seen so many has seen enough.
MOST_ROWS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A label, or a query's value, shown under a heading.

    label: the label's name; None for the value of the next query in turn.
    meanings, scale: colour the cell. link: (title, URL) behind it. ascending: sort by this first.
    """

    heading: str
    label: str | None = None
    unit: str | None = None
    meanings: ValueMap | None = None
    scale: Scale | None = None
    link: tuple[str, str] | None = None
    ascending: bool = False


def listing(
    about: About, columns: Sequence[Column], *queries: Query, empty: str = "no data"
) -> table.Panel:
    """A row for each set of labels; values sort it from the first on, largest first."""
    fields = _fields(columns, len(queries))
    panel = (
        table.Panel()
        .show_header(show_header=True)
        .align(FieldTextAlignment.AUTO)
        .no_value(empty)
        .footer(
            common.TableFooterOptions()
            .show(show=False)
            .reducer(["sum"])
            .enable_pagination(enable_pagination=True)
        )
    )
    introduced(panel, about, queries)
    order = [column for column in columns if column.ascending]
    order += [column for column in columns if column.label is None]
    panel.sort_by(
        [
            common.TableSortByFieldState()
            .display_name(column.heading)
            .desc(desc=not column.ascending)
            for column in order
        ]
    )
    if len(queries) > 1:
        panel.with_transformation(DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(
        DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": {"Time": True},
                "indexByName": {field: place for place, field in enumerate(fields)},
                "renameByName": {
                    field: column.heading for field, column in zip(fields, columns, strict=True)
                },
            },
        )
    )
    for column in columns:
        # Or a cell without a value would say what the empty table says.
        blank = DynamicConfigValue(id_val="noValue", value="")
        panel.override_by_name(column.heading, [*_properties(column), blank])
    return panel


def to_host(title: str, *, netns: bool = False) -> tuple[str, str]:
    """A link from a row with a column `instance` to that host's dashboard."""
    instance = "var-instance=${__data.fields.instance:percentencode}"
    return title, _host(instance, _ITS_NETNS) if netns else _host(instance)


def to_namespace(title: str) -> tuple[str, str]:
    """A link from a row with a column `netns` to the same host's dashboard, of that one alone."""
    return title, _host("${instance:queryparam}", _ITS_NETNS)


def _host(*chosen: str) -> str:
    kept = ("${datasource:queryparam}", "${job:queryparam}", "${cluster:queryparam}")
    return "/d/sockmon-host?" + "&".join((*kept, *chosen, "${__url_time_range}"))


#: Critical before warning.
SEVERITY = Column(heading="Severity", label="severity", meanings=SEVERITIES, ascending=True)

#: From a cell that shows an alert's name.
TO_RUNBOOK = ("Runbook", RUNBOOKS + "${__value.text}.md")


def _fields(columns: Sequence[Column], queries: int) -> list[str]:
    """Grafana's names: a label's own; `Value`, or with several queries `Value #A` and so on."""
    letters = iter(string.ascii_uppercase)
    return [
        column.label or ("Value" if queries == 1 else f"Value #{next(letters)}")
        for column in columns
    ]


def _properties(column: Column) -> list[DynamicConfigValue]:
    found: list[tuple[str, Any]] = []
    if column.label is not None:
        found.append(("unit", units.String))  # a port is no quantity: 10000 is not "10 K"
    elif column.unit is not None:
        found.append(("unit", column.unit))
    if column.unit == units.PercentUnit:
        found.append(("decimals", 0))
    if column.meanings is not None:
        found.append(("mappings", [column.meanings]))
    if column.scale is not None:
        # What is well has no colour: an empty cell would have it too.
        steps = [Threshold(color="transparent"), *column.scale[1:]]
        found.append(("thresholds", ThresholdsConfig(mode=ThresholdsMode.ABSOLUTE, steps=steps)))
    if column.link is not None:
        title, url = column.link
        found.append(("links", [{"title": title, "url": url}]))
    if column.scale is not None or (
        column.meanings is not None
        and any(meaning.color for meaning in column.meanings.options.values())
    ):
        found.append(("custom.cellOptions", _COLORED))
    return [DynamicConfigValue(id_val=name, value=value) for name, value in found]
