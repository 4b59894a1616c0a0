"""The bench's stopwatches are on methods that exist: they are named by strings."""

from contextlib import closing

from bench.others import PARTS
from bench.polling import Part, diagnosis, owner_counting


def test_what_is_measured_exists() -> None:
    with closing(diagnosis()), closing(owner_counting()), closing(Part("others", *PARTS)):
        pass
