"""Inputs that `make fuzz` has kept, and those that it begins with, are read or refused."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.fuzz.__main__ import CORPUS, corpus
from tests.fuzz.targets import TARGETS, Http, Target


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    made = TARGETS[request.param]()
    made = replace(made, patience=0.02) if isinstance(made, Http) else made
    yield made
    made.close()


def test_every_kept_input_is_read_or_refused(target: Target) -> None:
    inputs = [*target.seeds(), *corpus(CORPUS, target.name)]
    assert inputs
    for data in inputs:
        target.feed(data)


def test_every_folder_of_the_corpus_has_a_target() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} <= TARGETS.keys()
