"""What is around the panels: variables, links between dashboards, annotations, rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import (
    AnnotationContainer,
    Dashboard,
    DashboardCursorSync,
    DashboardDashboardTemplating,
    DashboardLinkType,
    GridPos,
    Panel,
    RowPanel,
    VariableModel,
)

from grafana import variables
from grafana.annotations import alerts
from grafana.panels import panel_id
from grafana.queries import FLEET, HOST, HOSTS

_GRID = 24  # columns
#: Panels of no version are taken for old ones, and rewritten.
_GRAFANA = "11.6.0"


@dataclass(frozen=True, slots=True)
class Place:
    """A dashboard's name, and what is chosen above it, beside the data source."""

    uid: str
    title: str
    variables: tuple[str, ...]
    one_host: bool = False

    @property
    def hosts(self) -> str:
        """The label matchers of the hosts it is about."""
        if "instance" not in self.variables:
            return FLEET
        return HOST if self.one_host else HOSTS


OF_FLEET = Place("sockmon-fleet", "sockmon / Fleet", ("cluster", "job"))
OF_HOST = Place(
    "sockmon-host",
    "sockmon / Host",
    ("cluster", "job", "instance", "netns", "port"),
    one_host=True,
)
OF_CLOSE_WAIT = Place(
    "sockmon-close-wait",
    "sockmon / CLOSE_WAIT leaks",
    ("cluster", "job", "instance", "netns", "port"),
)
OF_HEALTH = Place("sockmon-health", "sockmon / Health", ("cluster", "job", "instance", "netns"))
PLACES = (OF_FLEET, OF_HOST, OF_CLOSE_WAIT, OF_HEALTH)


@dataclass(frozen=True, slots=True)
class Line:
    """Panels side by side, of one height; of one width, unless `widths` says other."""

    height: int
    panels: Sequence[Builder[Panel]]
    widths: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """What stands under one heading; closed until somebody opens it."""

    title: str
    lines: Sequence[Line]


def board(
    place: Place,
    description: str,
    time_from: str,
    refresh: str,
    first: Sequence[Line],
    sections: Sequence[Section],
) -> Dashboard:
    """Return the dashboard. time_from: how far back it looks at first, such as now-1h.

    first: what is seen at once, without a heading.
    """
    made = (
        builders.Dashboard(place.title)
        .uid(place.uid)
        .description(description)
        .tags(["sockmon"])
        .time(time_from, "now")
        .refresh(refresh)
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .links([_way(place, other) for other in PLACES if other != place])
    )
    built = made.build()
    built.templating = DashboardDashboardTemplating(list_val=list(_choices(place)))
    built.annotations = AnnotationContainer(list_val=list(alerts(place.hosts)))
    built.panels = list(_laid_out(first, sections))
    return built


def _choices(place: Place) -> Iterator[VariableModel]:
    yield variables.data_source()
    for name in place.variables:
        choice = variables.one if name == "instance" and place.one_host else variables.several
        yield choice(name)


def _laid_out(first: Sequence[Line], sections: Sequence[Section]) -> Iterator[Panel | RowPanel]:
    """Yield panels and headings from top to bottom, each with its place on the grid."""
    yield from _placed(first, 0)
    y = sum(line.height for line in first)
    for section in sections:
        yield RowPanel(
            collapsed=True,
            title=section.title,
            id_val=panel_id(f"row {section.title}"),
            grid_pos=GridPos(h=1, w=_GRID, x=0, y=y),
            panels=list(_placed(section.lines, y + 1)),
        )
        y += 1


def _placed(lines: Sequence[Line], y: int) -> Iterator[Panel]:
    for line in lines:
        x = 0
        widths = line.widths or [_GRID // len(line.panels)] * len(line.panels)
        for builder, width in zip(line.panels, widths, strict=True):
            panel = builder.build()
            panel.plugin_version = _GRAFANA
            panel.grid_pos = GridPos(h=line.height, w=width, x=x, y=y)
            yield panel
            x += width
        y += line.height


def _way(here: Place, there: Place) -> builders.DashboardLink:
    """A link that takes along what is chosen, as far as it can be chosen there."""
    taken = ["datasource", *(name for name in here.variables if name in there.variables)]
    if there.one_host and not here.one_host:
        taken = [name for name in taken if name != "instance"]
    query = "&".join(f"${{{name}:queryparam}}" for name in taken)
    way = builders.DashboardLink(there.title.removeprefix("sockmon / "))
    way.type(DashboardLinkType.LINK).icon("dashboard").url(f"/d/{there.uid}?{query}")
    return way.keep_time(keep_time=True)
