"""The dashboards: current, as Grafana's published schema wants them, and saying all they must."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard
from jsonschema import Draft7Validator

from grafana.generate import DIRECTORY, stale
from grafana.scales import STATE_COLORS
from sockmon.model.states import TcpState
from tests.conftest import REPOSITORY
from tests.deploy.grafana_boards import BOARDS, found, of_each_board, panels

SCHEMA = json.loads((Path(__file__).parent / "schemas" / "grafana" / "dashboard.json").read_text())
PANELS = [
    pytest.param(panel, id=f"{uid}: {panel['title']}")
    for uid, board in BOARDS.items()
    for panel in panels(board)
]
#: Grafana's own, beside those of the dashboard.
BUILT_IN = {
    "__all",
    "__data",
    "__interval",
    "__range",
    "__rate_interval",
    "__url_time_range",
    "__value",
}

of_each_panel = pytest.mark.parametrize("panel", PANELS)


def test_there_is_each_dashboard() -> None:
    wanted = ["sockmon-close-wait", "sockmon-fleet", "sockmon-health", "sockmon-host"]
    assert [board["uid"] for board in BOARDS.values()] == list(BOARDS) == wanted
    assert len({board["title"] for board in BOARDS.values()}) == len(wanted)


def test_the_files_are_what_the_code_says(tmp_path: Path) -> None:
    assert stale(DIRECTORY) == []
    (tmp_path / "sockmon-fleet.json").write_text("{}")
    assert stale(tmp_path) == sorted(f"{uid}.json" for uid in BOARDS)
    (tmp_path / "old.json").touch()
    assert "old.json" in stale(tmp_path)
    command = [sys.executable, "-m", "grafana.generate", "--check"]
    assert subprocess.run(command, cwd=REPOSITORY, check=False).returncode == 0


@of_each_board
def test_it_is_as_the_published_schema_wants_it(board: dict[str, Any]) -> None:
    whole = SCHEMA["definitions"]["Dashboard"]
    kinds = {
        kind["properties"]["type"]["const"]: kind
        for kind in whole["properties"]["panels"]["items"]["anyOf"]
    }
    # Each panel against its own kind: "is none of six" would say nothing.
    around = {**whole, "properties": {**whole["properties"], "panels": {}}}
    trouble = [error.message for error in Draft7Validator(around).iter_errors(board)]
    for panel in [*panels(board), *(panel for panel in board["panels"] if panel["type"] == "row")]:
        trouble += [
            f"{panel['title']}: {error.json_path}: {error.message}"
            for error in Draft7Validator(kinds[panel["type"]]).iter_errors(panel)
        ]
    assert trouble == []
    Draft7Validator(SCHEMA).validate(board)


@of_each_board
def test_the_sdk_reads_back_what_it_wrote(board: dict[str, Any]) -> None:
    register_default_plugins()
    again = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))
    # Of annotations the SDK knows only those of Grafana itself; the schema above knows ours.
    for variable in again["templating"]["list"]:
        for interval in ("auto", "auto_min", "auto_count"):
            variable.pop(interval)
    assert {**again, "annotations": None} == {**board, "annotations": None}


@of_each_board
def test_it_opens_on_a_sensible_range(board: dict[str, Any]) -> None:
    assert re.fullmatch(r"now-[136]h", board["time"]["from"])
    assert board["time"]["to"] == "now"
    assert board["refresh"] in {"30s", "1m"}
    assert board["graphTooltip"] == 1  # one crosshair over all panels
    assert board["tags"] == ["sockmon"]


@of_each_board
def test_the_grid_has_neither_gap_nor_overlap(board: dict[str, Any]) -> None:
    assert_filled(board["panels"], 0)
    for row in board["panels"]:
        if row["type"] == "row":
            assert_filled(row["panels"], row["gridPos"]["y"] + 1)


def assert_filled(laid: list[dict[str, Any]], top: int) -> None:
    """These panels fill the grid from `top` to their end, each with a place of its own."""
    taken: set[tuple[int, int]] = set()
    for panel in laid:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not taken & cells, panel["title"]
        taken |= cells
    bottom = max(y for _, y in taken)
    assert taken == {(x, y) for x in range(24) for y in range(top, bottom + 1)}


@of_each_board
def test_the_first_screen_has_a_graph(board: dict[str, Any]) -> None:
    rows = [panel["type"] == "row" for panel in board["panels"]]
    assert rows == sorted(rows)  # what is closed comes last
    assert all(panel["collapsed"] for panel in board["panels"] if panel["type"] == "row")
    first = next(panel for panel in board["panels"] if panel["type"] == "timeseries")
    # Grafana's own: 30 px and a gap of 8 for each row of the grid; above it some 130 px.
    assert 130 + 38 * first["gridPos"]["y"] < 450


@pytest.mark.parametrize(
    "panel",
    [param for param in PANELS if param.values[0]["type"] == "stat"],  # type: ignore[index]
)
def test_a_figure_without_a_value_is_neither_a_verdict_nor_an_old_number(
    panel: dict[str, Any],
) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    # Grafana gives the first step's colour to what has no value (getDisplayProcessor).
    assert "red" not in defaults["thresholds"]["steps"][0]["color"]
    assert defaults["noValue"]
    *_, missing = defaults["mappings"]
    assert missing["options"]["match"] == "null+nan"
    assert missing["options"]["result"] == {"text": defaults["noValue"], "color": "text"}
    assert panel["options"]["reduceOptions"]["calcs"] == ["last"]  # of a range: that of its end
    assert panel["options"]["colorMode"] == "value"
    assert panel["options"]["graphMode"] == "area"
    (target,) = panel["targets"]
    assert target["expr"].endswith(" or vector(NaN)")


def test_states_have_the_colours_of_the_page() -> None:
    css = (REPOSITORY / "page" / "src" / "style" / "base.css").read_text()
    dark = dict(re.findall(r"--(\w+): light-dark\(#\w+, (#\w+)\)", css))
    assert {state.label: color for state, color in STATE_COLORS.items()} == {
        state.label: dark[state.label] for state in TcpState
    }
    by_state = [param.values[0] for param in PANELS if "{{state}}" in json.dumps(param.values[0])]
    assert len(by_state) == 4
    for panel in by_state:
        painted = {
            override["matcher"]["options"]: override["properties"]
            for override in panel["fieldConfig"]["overrides"]  # type: ignore[index]
        }
        if "udp" not in json.dumps(panel):
            assert painted.keys() == dark.keys() & painted.keys() == {s.label for s in TcpState}


@of_each_board
def test_panels_are_told_apart(board: dict[str, Any]) -> None:
    ids = [panel["id"] for panel in board["panels"]]
    titles = [panel["title"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    assert len(set(titles)) == len(titles)


@of_each_panel
def test_a_panel_says_what_it_means(panel: dict[str, Any]) -> None:
    assert re.fullmatch(r"[A-Z].{20,}[.]", panel["description"], re.DOTALL)
    assert panel["title"][0].isupper() or panel["title"].startswith("sockmon")


@of_each_panel
def test_a_panel_has_unit_and_thresholds(panel: dict[str, Any]) -> None:
    known = {value for name, value in vars(units).items() if name[0].isupper()}
    defaults = panel["fieldConfig"]["defaults"]
    overrides = [
        (each["id"], each["value"])
        for override in panel["fieldConfig"]["overrides"]
        for each in override["properties"]
    ]
    shown = {defaults["unit"]} | {value for name, value in overrides if name == "unit"}
    assert shown <= known
    scales = [defaults["thresholds"]] + [v for name, v in overrides if name == "thresholds"]
    for scale in scales:
        assert scale["mode"] == "absolute"
        first, *values = [step["value"] for step in scale["steps"]]
        assert first is None
        assert values == sorted(set(values))


@of_each_panel
def test_a_panel_names_its_series(panel: dict[str, Any]) -> None:
    assert panel["targets"]
    letters = [target["refId"] for target in panel["targets"]]
    assert letters == list("ABCDEFGHIJ"[: len(letters)])
    for target in panel["targets"]:
        if panel["type"] == "table":
            assert target["format"] == "table"
            assert target["instant"]
        else:
            assert target["legendFormat"]
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= _labels(target["expr"])


def _labels(expression: str) -> set[str]:
    """The labels that the result can have: those of the outermost `by`, or those of series."""
    found = re.search(r"\bby \(([^)]*)\)", expression)
    if found:
        return set(re.split(r", ", found[1]))
    return {"cluster", "job", "instance", "netns", "direction", "port", "level"}


@pytest.mark.parametrize(
    "panel",
    [param for param in PANELS if param.values[0]["type"] == "table"],  # type: ignore[index]
)
def test_a_table_has_a_heading_for_each_column(panel: dict[str, Any]) -> None:
    *_, organize = panel["transformations"]
    assert organize["id"] == "organize"
    fields = organize["options"]["renameByName"]
    assert list(organize["options"]["indexByName"]) == list(fields)
    letters = [target["refId"] for target in panel["targets"]]
    values = {"Value"} if len(letters) == 1 else {f"Value #{letter}" for letter in letters}
    labels = fields.keys() - values
    assert values < fields.keys()
    for target in panel["targets"]:
        assert _labels(target["expr"]) == labels
    headings = set(fields.values())
    assert {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]} <= (
        headings
    )
    order = [column["displayName"] for column in panel["options"]["sortBy"]]
    assert set(order) - {"Severity"} == {fields[value] for value in values}
    assert ("Severity" in headings) == (order[0] == "Severity")


@of_each_board
def test_every_query_goes_to_the_chosen_data_source(board: dict[str, Any]) -> None:
    sources = list(found(board, "datasource"))
    assert len(sources) > len(board["panels"]) / 2
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)


@of_each_board
def test_variables_that_are_used_exist_and_the_other_way_round(board: dict[str, Any]) -> None:
    declared = [variable["name"] for variable in board["templating"]["list"]]
    assert declared[:3] == ["datasource", "cluster", "job"]
    own_links = {**board, "links": []}
    used = set(re.findall(r"\$\{?(\w+)", re.sub(r"\$1", "", json.dumps(own_links))))
    assert used - BUILT_IN == set(declared)
    for variable in board["templating"]["list"][1:]:
        single = variable["name"] == "instance" and board["uid"] == "sockmon-host"
        assert variable["multi"] == variable["includeAll"] == (not single)


@of_each_board
def test_values_with_dots_stay_what_they_are(board: dict[str, Any]) -> None:
    single = {v["name"] for v in board["templating"]["list"] if not v.get("multi")}
    for expression in found(board, "expr"):
        for operator, name in re.findall(r'(=~|=)"\$\{?(\w+)', expression):
            # What may be several comes as a regular expression, escaped; what is one does not.
            assert operator == ("=" if name in single else "=~"), expression
        assert ":regex" not in expression


@of_each_panel
def test_a_panel_is_readable_with_a_hundred_namespaces(panel: dict[str, Any]) -> None:
    """Lines by namespace are the worst ones alone."""
    for target in panel["targets"]:
        if panel["type"] == "timeseries" and "{{netns}}" in target["legendFormat"]:
            assert re.search(r"\) and (topk|bottomk)\(\d+, ", target["expr"]), target["expr"]


@of_each_panel
def test_lines_are_ranked_once(panel: dict[str, Any]) -> None:
    """A topk() over a range chooses anew at each step: lines come and go, more than ten of them."""
    for target in panel["targets"]:
        if not target["instant"] and "topk(" in target["expr"]:
            assert target["expr"].endswith("[$__range:$__interval] @ end()))")
    if panel["type"] == "timeseries":
        assert panel["options"]["legend"]["displayMode"] == "table"
        assert panel["options"]["legend"]["calcs"] == ["lastNotNull", "max"]


def test_provisioning_fits_the_rest() -> None:
    provisioning = DIRECTORY.parent / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "sockmon.yaml").read_text())[
        "datasources"
    ]
    scraping = yaml.safe_load((REPOSITORY / "deploy" / "prometheus" / "prometheus.yml").read_text())
    # Grafana reckons $__rate_interval with it: another number would make rates out of one sample.
    assert source["jsonData"]["timeInterval"] == scraping["global"]["scrape_interval"]
    assert source["type"] == "prometheus"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "sockmon.yaml").read_text())[
        "providers"
    ]
    assert provider["type"] == "file"
    assert provider["options"]["path"] in (DIRECTORY.parent / "README.md").read_text()
