"""Fixtures of the live tests: each test has namespaces of its own."""

from collections.abc import Iterator

import pytest

from tests.lab import Link, NetNs, linked


@pytest.fixture
def netns() -> Iterator[NetNs]:
    with NetNs() as made:
        yield made


@pytest.fixture
def link() -> Iterator[Link]:
    with linked() as made:
        yield made
