"""Distinct values and rows. np.unique() without any index loads numpy.ma: 1 MB, and never used."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)


def distinct(values: NDArray[Number]) -> NDArray[Number]:
    """Return the distinct values, sorted."""
    found: NDArray[Number] = np.unique(values, return_index=True)[0]
    return found


def distinct_rows(rows: NDArray[Number]) -> NDArray[Number]:
    """Return the distinct rows, sorted."""
    found: NDArray[Number] = np.unique(rows, axis=0, return_index=True)[0]
    return found
