"""Fixtures of the live tests: each test has namespaces of its own."""

import fcntl
from collections.abc import Iterator

import pytest

from tests.lab import Link, NetNs, linked
from tests.once import place_of_run
from tests.world import World, small_world


@pytest.fixture
def netns() -> Iterator[NetNs]:
    with NetNs() as made:
        yield made


@pytest.fixture
def link() -> Iterator[Link]:
    with linked() as made:
        yield made


@pytest.fixture
def world() -> Iterator[World]:
    with small_world() as made:
        yield made


@pytest.fixture
def free_rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nobody takes all rows of the counting programs meanwhile: these see the whole host."""
    with (place_of_run(tmp_path_factory) / "rows.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


@pytest.fixture
def all_rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Others whose rows must be free wait."""
    with (place_of_run(tmp_path_factory) / "rows.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
