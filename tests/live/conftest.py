"""Fixtures of the live tests: each test has namespaces of its own."""

from collections.abc import Iterator

import pytest

from tests.lab import Link, NetNs, linked
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
