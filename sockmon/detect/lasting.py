"""Groups of sockets whose condition lasts: judged by how many there are, with the longest's age."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sockmon.detect.detector import Judged, judge_groups
from sockmon.detect.evidence import inodes
from sockmon.language import Text
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Advice, Evidence, Finding
from sockmon.model.owner import Group


class LastingGroup(NamedTuple):
    """A group that is large enough; `rows` of the table. longest: seconds."""

    group: Group
    rows: NDArray[np.intp]
    longest: float
    inodes: tuple[int, ...]
    judged: Judged
    warning: float

    @staticmethod
    def of(
        data: DetectorInput, judged: Judged, began: Mapping[int, float], warning: float
    ) -> "LastingGroup":
        """Return it; began: in monotonic seconds, by row."""
        rows = judged.rows
        longest = data.now - min(began[row] for row in rows.tolist())
        return LastingGroup(judged.group, rows, longest, inodes(data.table, rows), judged, warning)

    def finding(
        self,
        summary: Text,
        evidence: Evidence,
        advice: tuple[Advice, ...],
        others: tuple[tuple[Group, tuple[int, ...]], ...] = (),
    ) -> Finding:
        """Return the finding of this group: its value is the number of sockets."""
        return Finding(
            detector=self.judged.key.detector,
            severity=self.judged.severity,
            netns=self.judged.key.netns,
            subject=self.judged.subject,
            value=int(self.rows.size),
            limit=self.warning,
            summary=summary,
            evidence=evidence,
            advice=advice,
            group=self.group,
            inodes=self.inodes,
            rows=self.rows,
            others=others,
        )


def judge_lasting(
    data: DetectorInput,
    name: str,
    rows: NDArray[np.intp],
    since: NDArray[np.float64],
    warning: float,
    critical: float,
) -> Iterator[LastingGroup]:
    """Yield the groups of the rows that reach the thresholds.

    since: monotonic seconds, one for each row.
    """
    began = dict(zip(rows.tolist(), since.tolist(), strict=True))
    for judged in judge_groups(data, name, rows, warning, critical):
        yield LastingGroup.of(data, judged, began, warning)
