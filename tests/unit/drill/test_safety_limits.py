"""How many a drill may make: a fifth of what is free of the scarcest resource, and no more."""

from pathlib import Path

import pytest

from sockmon.drill.safety_limits import (
    OVERHEAD_DESCRIPTORS,
    Resource,
    parse_files,
    read_resources,
    tightest,
)
from sockmon.kernel.errors import ProcError


@pytest.mark.parametrize(
    ("limit", "used", "allowed"),
    [(100, 0, 20), (104, 0, 20), (105, 0, 21), (100, 50, 10), (100, 100, 0), (100, 120, 0)],
)
def test_a_fifth_of_what_is_free(limit: int, used: int, allowed: int) -> None:
    assert Resource("ports", "ports", limit, used).allowed == allowed


def test_the_scarcest_decides() -> None:
    ports, buckets = Resource("ports", "ports", 1000), Resource("buckets", "buckets", 500)
    assert tightest((ports, buckets), {"ports": 1}).most == 200
    assert tightest((ports, buckets), {"ports": 1, "buckets": 1}).by == buckets
    assert tightest((ports, buckets), {"ports": 4, "buckets": 1}).most == 50


def test_a_process_has_descriptors_of_its_own() -> None:
    descriptors = Resource("descriptors", "descriptors", 5 * (OVERHEAD_DESCRIPTORS + 10))
    assert tightest((descriptors,), {"descriptors": 2}).most == 5
    assert tightest((Resource("descriptors", "few", 10),), {"descriptors": 1}).most == 0


def test_the_bound_says_why() -> None:
    bound = tightest((Resource("ports", "ports", 1000, 200),), {"ports": 2})
    assert str(bound) == (
        "at most 80, since a drill uses at most 20 % of what is free of 1000 ports, "
        "200 of them in use; each needs 2"
    )


def test_open_files_are_those_allocated_and_not_free() -> None:
    assert parse_files("1021\t21\t9000\n") == (1000, 9000)


def test_this_host_has_them_all() -> None:
    found = read_resources(Path("/proc"))
    assert {"descriptors", "ports", "backlog", "buckets"} <= {each.cost for each in found}
    assert all(each.limit > 0 for each in found)


def test_without_proc_it_says_what_could_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(ProcError, match="ENOENT"):
        read_resources(tmp_path)
