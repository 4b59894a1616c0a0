"""The table, and the machine it was measured on."""

import os
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import sockmon

HEADINGS = ("contender", "what", "sockets", "median", "min .. max", "n", "ratio", "target", "met")
LEFT_ALIGNED = 2  # columns of words


def seconds(value: float) -> str:
    if value < 0.01:
        return f"{value * 1000:.2f} ms"
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"


def megabytes(value: float) -> str:
    return f"{value / 1e6:,.1f} MB"


def percent(value: float) -> str:
    return f"{value:.1%}"


@dataclass(frozen=True, slots=True)
class Row:
    """One thing measured of one contender; `reference` is the median it is compared with."""

    contender: str
    what: str
    values: Sequence[float]
    unit: Callable[[float], str] = seconds
    sockets: int | None = None
    reference: float | None = None
    most: float | None = None
    most_ratio: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def ratio(self) -> float | None:
        return None if self.reference is None else self.median / self.reference

    @property
    def met(self) -> bool | None:
        """Whether the target was met; None without one."""
        if self.most_ratio is not None and self.ratio is not None:
            return self.ratio <= self.most_ratio
        return None if self.most is None else self.median <= self.most

    def cells(self) -> tuple[str, ...]:
        if self.most_ratio is not None:
            target = f"<= {self.most_ratio:.2f}"
        else:
            target = "" if self.most is None else f"<= {self.unit(self.most)}"
        return (
            self.contender,
            self.what,
            "" if self.sockets is None else f"{self.sockets:,}",
            self.unit(self.median),
            f"{self.unit(min(self.values))} .. {self.unit(max(self.values))}",
            str(len(self.values)),
            "" if self.ratio is None else f"{self.ratio:.2f}",
            target,
            {True: "yes", False: "NO", None: ""}[self.met],
        )


@dataclass(frozen=True, slots=True)
class Section:
    """What was measured on one load."""

    title: str
    rows: Sequence[Row]


def machine() -> str:
    models = {
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    }
    model = ", ".join(sorted(models)) or platform.machine()
    return (
        f"sockmon {sockmon.__version__}, Linux {platform.release()}, {os.cpu_count()} cores"
        f" ({model}), Python {platform.python_version()}, numpy {np.__version__}"
    )


def table(sections: Sequence[Section]) -> str:
    """Return all sections as one table of aligned columns."""
    cells = [HEADINGS, *(row.cells() for section in sections for row in section.rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]

    def line(row: Sequence[str]) -> str:
        aligned = [
            cell.ljust(width) if place < LEFT_ALIGNED else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(aligned).rstrip()

    lines = [line(HEADINGS), line(["-" * width for width in widths])]
    for section in sections:
        lines += ["", section.title, *(line(row.cells()) for row in section.rows)]
    return "\n".join(lines)
