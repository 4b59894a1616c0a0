"""What the reader has chosen to see."""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from sockmon.language import Language
from sockmon.model.finding import FindingKey
from sockmon.top.scene import By, Scene

TOTAL = "TOTAL"


class RowKey(NamedTuple):
    """A row of the table, by the cells that name it."""

    cells: tuple[str, ...]


#: What covers the overview: one finding, one row, connections between polls, or the help.
Page = FindingKey | RowKey | Literal["help", "events"]


@dataclass(frozen=True, slots=True)
class ViewState:
    """What is shown, and how.

    sort, reverse: a column's name, and whether its order is reversed. netns: the chosen
    namespace, None for all. held: the scene that is shown while frozen. language: of the view.
    """

    by: By = "port"
    sort: str = TOTAL
    reverse: bool = False
    filter: str = ""
    netns: str | None = None
    held: Scene | None = None
    page: Page | None = None
    language: Language = "en"

    def sorted_by(self, column: str) -> "ViewState":
        """Sort by this column, in its own order."""
        return replace(self, sort=column, reverse=False)

    def entered(self, cells: tuple[str, ...]) -> "ViewState":
        """Open a row: a namespace's ports, or the details of anything else."""
        if self.by == "netns":
            return replace(self, by="port", netns=cells[0], filter="").sorted_by(TOTAL)
        return replace(self, page=RowKey(cells))
