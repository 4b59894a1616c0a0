"""Fixtures of the tests that install sockmon on a server."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.deploy.bundles import unpacked


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with every wheel a server needs, made once for all workers of this run.

    It is a copy: `make wheels` may replace build/wheels while a machine installs from here.
    """
    base = tmp_path_factory.getbasetemp()
    copy = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "wheels"
    build = REPOSITORY / "build"
    build.mkdir(exist_ok=True)
    with (build / "wheels.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not copy.exists():
            made = subprocess.run(
                [
                    REPOSITORY / "deploy" / "make-wheels",
                    Path(sys.executable).parent,
                    build / "wheels",
                ],
                capture_output=True,
                text=True,
                check=False,
            )
            assert made.returncode == 0, made.stdout + made.stderr
            shutil.copytree(build / "wheels", copy.with_suffix(".new"))
            copy.with_suffix(".new").rename(copy)
    return copy


@pytest.fixture(scope="session")
def bundle(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an operator has unpacked on a server without Internet: install.sh and all it needs."""
    return unpacked(wheels, tmp_path_factory.mktemp("bundle"))
