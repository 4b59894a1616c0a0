"""Distinct rows of an array."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)


def distinct_rows(rows: NDArray[Number]) -> NDArray[Number]:
    """Return the distinct rows, sorted.

    np.unique() without any index loads numpy.ma, which is 1 MB and never used.
    """
    distinct: NDArray[Number] = np.unique(rows, axis=0, return_index=True)[0]
    return distinct
