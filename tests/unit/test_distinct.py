"""Equal rows are found without sorting: the same as by comparing each with each."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sockmon.model.distinct import distinct, equals, kinds

#: Few values, and those that share their lowest bits.
WORDS = st.sampled_from([0, 1, 2, 2**16, 2**31, 2**32 - 1]) | st.integers(0, 2**32 - 1)
ROWS = st.lists(st.tuples(WORDS, st.integers(0, 3)), max_size=80)


def columns(rows: list[tuple[int, int]]) -> list[NDArray[np.unsignedinteger]]:
    dtypes = np.uint32, np.uint8
    return [np.array([row[n] for row in rows], dtype) for n, dtype in enumerate(dtypes)]


@given(st.lists(st.integers(0, 40) | st.integers(0, 40).map(lambda n: n << 40), max_size=80))
def test_each_key_has_the_place_of_an_equal_one(keys: list[int]) -> None:
    places = equals(np.array(keys, np.uint64)).tolist()
    assert [keys[place] for place in places] == keys
    assert len(set(places)) == len(set(keys))


@given(ROWS)
def test_rows_of_a_kind_are_those_that_are_equal(rows: list[tuple[int, int]]) -> None:
    found = kinds(*columns(rows))
    assert [rows[found.rows[kind]] for kind in found.which.tolist()] == rows
    assert found.rows.tolist() == sorted(set(found.rows.tolist()))
    counted = {rows[row]: n for row, n in zip(found.rows, found.counts().tolist(), strict=True)}
    assert counted == Counter(rows)


@given(st.lists(st.integers(0, 9), max_size=30))
def test_distinct_values_are_sorted(values: list[int]) -> None:
    assert distinct(np.array(values, np.uint16)).tolist() == sorted(set(values))


def test_rows_that_get_one_key_are_still_told_apart() -> None:
    """Numbers can be chosen so: the second column makes up for the difference of the first."""
    first = 0x9E3779B97F4A7C15
    difference = first ^ first >> 29
    rows = [(1, 0), (0, difference), (1, 0), (0, difference + 1)]
    found = kinds(*(np.array(column, np.uint64) for column in zip(*rows, strict=True)))
    assert [rows[found.rows[kind]] for kind in found.which.tolist()] == rows
    assert sorted(found.counts().tolist()) == [1, 1, 2]
