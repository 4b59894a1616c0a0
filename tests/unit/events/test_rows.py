"""The rows of the counting program are read without losing or inventing an event."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.kernel.errors import KernelError
from sockmon.kernel.events import layout
from sockmon.kernel.events.layout import FIRST_COLUMN, FIRST_ROW, FREED, KEY, NUMBER, RETIRED
from sockmon.kernel.events.rows import GRACE_SECONDS, RowReader
from sockmon.model.connection_events import COLUMNS

ROWS = 8


class Program:
    """What the program does to its memory, naively, with a small ring."""

    def __init__(self) -> None:
        self.words = np.zeros((FIRST_ROW + ROWS, layout.WORDS), np.uint64)
        self.control = np.zeros(2, np.uint64)
        self.groups: dict[int, int] = {}

    def count(self, key: int, column: int, number: int = 1) -> None:
        row = self.groups.get(key, 0)
        is_known = row > self.control[RETIRED]
        entry = FIRST_ROW + row % ROWS if is_known else self.begin_row(key)
        self.words[entry, FIRST_COLUMN + column] += np.uint64(number)

    def begin_row(self, key: int) -> int:
        """Give a row; return its entry, or the one for which no row is free."""
        if self.words[0, NUMBER] - self.control[FREED] >= ROWS:
            return key >> 16 & 3
        self.words[0, NUMBER] += 1
        row = int(self.words[0, NUMBER])
        entry = FIRST_ROW + row % ROWS
        self.words[entry, FIRST_COLUMN:] = 0
        self.words[entry, KEY] = key
        self.words[entry, NUMBER] = row
        self.groups[key] = row
        return entry


def summed(reader: RowReader, now: float, total: Counter[tuple[int, int]]) -> None:
    """Add what has been counted to the total by (key, column)."""
    got = reader.read(now)
    for netns, direction, port, columns in zip(
        got.netns.tolist(), got.direction.tolist(), got.port.tolist(), got.columns, strict=True
    ):
        for column in np.flatnonzero(columns).tolist():
            total[layout.key(netns, direction, port), column] += int(columns[column])


KEYS = st.builds(
    layout.key,
    st.sampled_from([1, 4026531833, 0xFFFFFFFF]),
    st.sampled_from([layout.INBOUND, layout.OUTBOUND]),
    st.integers(1, 5),
)
EVENTS = st.tuples(KEYS, st.integers(0, COLUMNS - 1), st.integers(1, 3))
READS = st.sampled_from([0.0, GRACE_SECONDS / 2, GRACE_SECONDS, 10.0])


@given(st.lists(EVENTS | READS, max_size=200))
def test_every_event_is_read_once_whatever_comes_between(
    steps: list[tuple[int, int, int] | float],
) -> None:
    program = Program()
    reader = RowReader(program.words, program.control)
    true: Counter[tuple[int, int]] = Counter()
    read: Counter[tuple[int, int]] = Counter()
    now = 100.0
    for step in steps:
        if isinstance(step, float):
            now += step
            summed(reader, now, read)
            assert 0 <= reader.in_use <= ROWS
        else:
            key, column, number = step
            program.count(key, column, number)
            true[key, column] += number
    summed(reader, now, read)
    assert by_direction(read) == by_direction(true)
    for (key, column), number in read.items():
        if key >> 32:
            assert number <= true[key, column]
    unplaced = sum(number for (key, _), number in read.items() if not key >> 32)
    if len({key for key, _ in true}) <= 1:
        assert unplaced == 0


def by_direction(counted: Counter[tuple[int, int]]) -> Counter[tuple[int, int]]:
    total: Counter[tuple[int, int]] = Counter()
    for (key, column), number in counted.items():
        total[key >> 16 & 3, column] += number
    return total


def test_rows_are_free_again_after_a_generation() -> None:
    program = Program()
    reader = RowReader(program.words, program.control)
    total: Counter[tuple[int, int]] = Counter()
    for number in range(100):  # each a namespace that comes and goes
        program.count(layout.key(1000 + number, layout.INBOUND, 80), 0)
        summed(reader, number * GRACE_SECONDS, total)
    assert total == {(layout.key(1000 + number, layout.INBOUND, 80), 0): 1 for number in range(100)}


def test_a_group_that_goes_on_counts_in_both_generations() -> None:
    program = Program()
    reader = RowReader(program.words, program.control)
    total: Counter[tuple[int, int]] = Counter()
    own = layout.key(9, layout.OUTBOUND, 443)
    for number in range(100):
        program.count(own, 3)
        program.count(layout.key(1000 + number, layout.INBOUND, 80), 0)
        summed(reader, number * GRACE_SECONDS, total)
    assert total[own, 3] == 100
    assert program.groups[own] > ROWS, "its row is not its first"


def test_what_is_counted_late_in_a_retired_row_is_read_before_it_is_freed() -> None:
    program = Program()
    reader = RowReader(program.words, program.control)
    total: Counter[tuple[int, int]] = Counter()
    for port in range(1, ROWS):
        program.count(layout.key(1, layout.INBOUND, port), 0)
    summed(reader, 0, total)
    assert program.control[RETIRED] == ROWS - 1
    late = FIRST_ROW + program.groups[layout.key(1, layout.INBOUND, 3)] % ROWS
    program.words[late, FIRST_COLUMN] += np.uint64(5)
    summed(reader, GRACE_SECONDS / 2, total)
    assert program.control[FREED] == 0
    program.words[late, FIRST_COLUMN] += np.uint64(6)
    summed(reader, GRACE_SECONDS, total)
    assert program.control[FREED] == ROWS - 1
    assert total[layout.key(1, layout.INBOUND, 3), 0] == 1 + 5 + 6


def test_a_row_that_is_being_begun_is_read_when_it_is_whole() -> None:
    program = Program()
    reader = RowReader(program.words, program.control)
    program.words[0, NUMBER] = 1
    program.words[FIRST_ROW + 1, FIRST_COLUMN] = 77  # of the row that was there before
    assert not reader.read(0).netns.size
    program.words[FIRST_ROW + 1] = 0
    program.words[FIRST_ROW + 1, KEY] = layout.key(5, layout.INBOUND, 80)
    program.words[FIRST_ROW + 1, NUMBER] = 1
    program.words[FIRST_ROW + 1, FIRST_COLUMN] = 2
    got = reader.read(0)
    assert (got.netns.tolist(), got.port.tolist()) == ([5], [80])
    assert got.columns[0, 0] == 2


def test_numbers_that_were_taken_too_late_are_no_rows() -> None:
    program = Program()
    reader = RowReader(program.words, program.control)
    for port in range(1, ROWS + 1):
        program.count(layout.key(1, layout.INBOUND, port), 0)
    program.words[0, NUMBER] += 3  # three processors at once, for one row
    total: Counter[tuple[int, int]] = Counter()
    summed(reader, 0, total)
    summed(reader, GRACE_SECONDS, total)
    program.count(layout.key(1, layout.OUTBOUND, 9), 1)
    summed(reader, GRACE_SECONDS, total)
    assert sum(total.values()) == ROWS + 1
    assert total[layout.key(1, layout.OUTBOUND, 9), 1] == 1


def test_memory_that_goes_back_is_not_the_programs() -> None:
    program = Program()
    reader = RowReader(program.words, program.control)
    program.count(layout.key(1, layout.INBOUND, 1), 0)
    reader.read(0)
    program.words[0, NUMBER] = 0
    with pytest.raises(KernelError, match="rows vanished"):
        reader.read(1)
