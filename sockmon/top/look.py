"""How the view looks: the terminal's own sixteen colours, the layout, and text without Unicode."""

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter
from textual.theme import Theme

from sockmon.top.lines import to_ascii

_GROUNDS = (
    "block-cursor-blurred-background",
    "footer-background",
    "footer-item-background",
    "footer-key-background",
    "footer-description-background",
    "scrollbar-background",
    "scrollbar-corner-color",
)
#: Every terminal has its own shades of these colours, on its own ground.
THEME = Theme(
    name="terminal",
    primary="ansi_cyan",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    boost="ansi_default",
    variables={
        **dict.fromkeys(_GROUNDS, "ansi_default"),
        "block-cursor-blurred-foreground": "ansi_default",
        "block-cursor-blurred-text-style": "none",
        "input-cursor-foreground": "ansi_black",
        "input-cursor-background": "ansi_cyan",
        "footer-key-foreground": "ansi_cyan",
        "footer-description-foreground": "ansi_default",
        "scrollbar": "ansi_cyan",
    },
)

#: From so many columns or lines on, the screen has these classes.
WIDTHS = [(0, "-narrow"), (76, "-usual"), (120, "-wide")]
HEIGHTS = [(0, "-low"), (16, "-usual-height"), (50, "-tall")]

CSS = """
Screen, ContentSwitcher, #page, Input { background: ansi_default; color: ansi_default; }
#verdict { height: 1; padding: 0 1; color: ansi_black; text-style: bold; }
#verdict, #where, #when, #limits, .state, #findings.-cut {
    text-wrap: nowrap; text-overflow: ellipsis;
}
#verdict.well { background: ansi_green; }
#verdict.warning { background: ansi_yellow; }
#verdict.critical { background: ansi_red; color: ansi_bright_white; }
#verdict.unknown { background: ansi_magenta; color: ansi_bright_white; }
#status { height: 1; }
#where { width: 1fr; padding: 0 1; text-style: bold; }
#when { width: auto; padding: 0 1; }
ContentSwitcher { height: 1fr; }
#overview.-stale { text-style: dim; }
#notes { height: auto; max-height: 3; padding: 0 1; }

#findings, #states-pane, #table-pane, Detail, #page {
    border: none; border-top: solid ansi_cyan; border-title-color: ansi_cyan;
    border-title-style: bold;
}
#findings:focus, #table-pane:focus-within { border-title-style: bold reverse; }
#findings { height: auto; max-height: 34vh; padding: 0 1; background: ansi_default; }
#body { height: 1fr; }
#states-pane { height: auto; padding: 0 1; }
#states { grid-size: 4; grid-columns: 21 1fr; grid-gutter: 0 1; grid-rows: 1; height: auto; }
.state, Sparkline { height: 100%; content-align: left bottom; }
Sparkline > .sparkline--max-color, Sparkline > .sparkline--min-color { color: ansi_green; }
#words, #limits, #table-notes { height: auto; }
#words { display: none; max-height: 2; text-wrap: wrap; }
#right, #table-pane { height: 1fr; }
#table-notes { padding: 0 1; max-height: 3; }
DataTable { height: 1fr; background: ansi_default; scrollbar-size-horizontal: 0; }
DataTable > .datatable--header { background: ansi_default; color: ansi_cyan; }
DataTable > .datatable--fixed { background: ansi_default; color: ansi_default; }
DataTable, #page, #findings { scrollbar-size-vertical: 1; }
#text { height: auto; padding: 0 1; }
Filter { height: 1; padding: 0 1; display: none; }

Detail { display: none; height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
Detail > Static { height: auto; }
.-wide #body { layout: horizontal; }
.-wide #states-pane { width: 33%; max-width: 40; height: 1fr; }
.-wide #states { grid-size: 2; grid-rows: 2; }
.-wide #limits { padding-top: 1; }
.-wide #beside { display: block; padding: 0; }
.-wide.-tall #beside { display: none; }
.-wide.-tall #states-pane { max-width: 33%; min-width: 40; }
.-wide.-tall #states { grid-rows: 1fr; height: 1fr; }
.-wide.-tall #table-pane, .-wide.-tall DataTable { height: auto; }
.-wide.-tall DataTable { max-height: 40vh; }
.-wide.-tall #below { display: block; }
.-narrow #states, .-low #states { display: none; }
.-narrow #words, .-low #words { display: block; }
.-low #findings, .-low #states-pane, .-low #table-pane { border-top: none; }
.-low #findings { max-height: 2; padding: 0; }
.-low #notes { max-height: 1; }
.-low #words { max-height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
.-low #limits { display: none; }

.-ascii DataTable, .-ascii #page, .-ascii #findings { scrollbar-size: 0 0; }
#verdict:nocolor { text-style: bold reverse; }
DataTable:focus > .datatable--cursor, DataTable:focus > .datatable--fixed-cursor {
    background: ansi_default; color: ansi_default; text-style: reverse;
}
#findings:focus > .option-list--option-highlighted {
    background: ansi_default; color: ansi_default; text-style: underline;
}
"""


class AsciiFilter(LineFilter):
    """Leaves no character that a terminal without Unicode cannot show."""

    def apply(
        self,
        segments: list[Segment],
        background: Color,  # noqa: ARG002 - textual's protocol
    ) -> list[Segment]:
        """Transform one line."""
        return [segment._replace(text=to_ascii(segment.text)) for segment in segments]
