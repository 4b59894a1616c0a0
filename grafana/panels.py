"""The kinds of panels, each with the house's looks; what every panel must say is asked for."""

import string
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from grafana_foundation_sdk.builders import common, heatmap, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import heatmap as heatmap_options
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    DynamicConfigValue,
    FieldColorModeId,
    ThresholdsMode,
    ValueMap,
)

from grafana.queries import Query, over_time
from grafana.scales import NEUTRAL, STATE_COLORS, Scale, missing
from sockmon.alert.labels import runbook_url

#: The Prometheus chosen above the dashboard.
DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")

Kind = TypeVar(
    "Kind", heatmap.Panel, stat.Panel, statetimeline.Panel, table.Panel, timeseries.Panel
)


@dataclass(frozen=True, slots=True)
class About:
    """What a panel says of itself: what it means and what to do, its unit, and from where it hurts.

    alert: whose runbook it leads to.
    """

    title: str
    description: str
    unit: str
    scale: Scale = NEUTRAL
    alert: str | None = None


def lines(about: About, *queries: Query) -> timeseries.Panel:
    """Series over time; a scale's limits are drawn across."""
    style = "DASHED" if len(about.scale) > 1 else "OFF"
    panel = (
        timeseries.Panel()
        .axis_soft_min(0)
        .line_width(1)
        .fill_opacity(8)
        .show_points(options.VisibilityMode.NEVER)
        .color_scheme(builders.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .thresholds_style(
            common.GraphThresholdsStyleConfig().mode(options.GraphThresholdsStyleMode[style])
        )
        .legend(_legend("lastNotNull", "max"))
        .tooltip(
            common.VizTooltipOptions()
            .mode(options.TooltipDisplayMode.MULTI)
            .sort(options.SortOrder.DESCENDING)
        )
    )
    return introduced(panel, about, queries)


def _legend(*figures: str) -> common.VizLegendOptions:
    mode = options.LegendDisplayMode.TABLE if figures else options.LegendDisplayMode.LIST
    legend = common.VizLegendOptions().display_mode(mode).calcs(list(figures))
    legend.placement(options.LegendPlacement.BOTTOM).show_legend(show_legend=True)
    return legend.sort_by("Last *").sort_desc(sort_desc=True) if figures else legend


def stacked(panel: timeseries.Panel) -> timeseries.Panel:
    """Parts of a whole."""
    return panel.stacking(common.StackingConfig().mode(options.StackingMode.NORMAL).group("A"))


def painted(panel: timeseries.Panel, colors: Mapping[str, str]) -> timeseries.Panel:
    """Give series of these names colours that say what they mean."""
    for name, color in colors.items():
        fixed = {"mode": FieldColorModeId.FIXED, "fixedColor": color}
        panel.override_by_name(name, [DynamicConfigValue(id_val="color", value=fixed)])
    return panel


def of_states(panel: timeseries.Panel) -> timeseries.Panel:
    """Series named after TCP states, in the colours and the spelling of sockmon's page."""
    for state, color in STATE_COLORS.items():
        panel.override_by_name(
            state.label,
            [
                DynamicConfigValue(id_val="displayName", value=state.name),
                DynamicConfigValue(
                    id_val="color", value={"mode": FieldColorModeId.FIXED, "fixedColor": color}
                ),
            ],
        )
    return panel


def logarithmic(panel: timeseries.Panel) -> timeseries.Panel:
    """Ten leaked sockets are seen beside a hundred thousand that are well; zero is zero."""
    return panel.scale_distribution(
        common.ScaleDistributionConfig()
        .type(options.ScaleDistribution.SYMLOG)
        .log(10)
        .linear_threshold(1)
    )


def figure(
    about: About, expression: str, meanings: ValueMap | None = None, empty: str = "no data"
) -> stat.Panel:
    """One number above its own past, coloured by its scale or by what it means.

    expression: one series without labels. empty: shown where it has no value at the end.
    """
    # With the last value, and NaN where there is none, a number that has ended is not shown as one.
    query = over_time(f"{expression} or vector(NaN)", about.title)
    panel = (
        stat.Panel()
        .color_mode(options.BigValueColorMode.VALUE)
        .graph_mode(options.BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["last"]))
        .color_scheme(builders.FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .mappings([*([meanings] if meanings else []), missing(empty)])
        .no_value(empty)
    )
    return introduced(panel, about, [query])


def heat(about: About, query: Query) -> heatmap.Panel:
    """A histogram over time: a row for each bucket, named by its upper bound."""
    panel = (
        heatmap.Panel()
        .calculate(calculate=False)
        .cell_gap(1)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heatmap_options.HeatmapColorMode.SCHEME)
            .scheme("Blues")
            .steps(32)
            .exponent(0.5)
        )
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .rows_frame(
            heatmap.RowsHeatmapOptions()
            .layout(options.HeatmapCellLayout.LE)
            .value("closes per second")
        )
        .y_axis(heatmap.YAxisConfig().unit(about.unit))
        .scale_distribution(common.ScaleDistributionConfig().type(options.ScaleDistribution.LINEAR))
    )
    return introduced(panel, about, [query])


def timeline(about: About, query: Query, meanings: ValueMap, empty: str) -> statetimeline.Panel:
    """A band for each series, coloured by what its values mean."""
    panel = (
        statetimeline.Panel()
        .mappings([meanings])
        .no_value(empty)
        .merge_values(merge_values=True)
        .show_value(options.VisibilityMode.AUTO)
        .row_height(0.9)
        .line_width(0)
        .fill_opacity(70)
        .legend(_legend())
        .tooltip(
            common.VizTooltipOptions()
            .mode(options.TooltipDisplayMode.SINGLE)
            .sort(options.SortOrder.NONE)
        )
    )
    return introduced(panel, about, [query])


def introduced(panel: Kind, about: About, queries: Sequence[Query]) -> Kind:
    """Give the panel what all have in common."""
    thresholds = builders.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(list(about.scale))
    panel.id(panel_id(about.title)).title(about.title).description(about.description)
    panel.datasource(DATASOURCE).unit(about.unit).thresholds(thresholds)
    for query, letter in zip(queries, string.ascii_uppercase, strict=False):
        panel.with_target(query.ref_id(letter))
    if about.alert is not None:
        panel.links([link("Runbook", runbook_url(about.alert))])
    return panel


def link(title: str, url: str) -> builders.DashboardLink:
    """Return a link that opens in a tab of its own."""
    target = builders.DashboardLink(title).type(DashboardLinkType.LINK).url(url)
    return target.target_blank(target_blank=True)


def panel_id(title: str) -> int:
    """Return the number by which links know a panel: it stays when others come and go."""
    return zlib.crc32(title.encode()) % 1_000_000
