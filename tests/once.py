"""What is expensive to make is made once for a whole run, whichever of its processes needs it."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def place_of_run(factory: pytest.TempPathFactory) -> Path:
    """Return the directory that all processes of a run share."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def once_a_run(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a directory that `make` has filled; nobody may change what is in it."""
    place = place_of_run(factory)
    made = place / name
    with (place / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            new = place / f"{name}.new"
            new.mkdir()
            make(new)
            new.rename(made)
    return made
