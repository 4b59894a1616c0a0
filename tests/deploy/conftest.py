"""Fixtures of the tests that install sockmon on a server, made once for a whole run."""

import fcntl
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.deploy import debian
from tests.deploy.bundles import unpacked
from tests.once import once_a_run


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with every wheel a server needs."""
    return once_a_run(tmp_path_factory, "wheels", _collect)


def _collect(directory: Path) -> None:
    """Copy them: `make wheels` may replace build/wheels while a machine installs from here."""
    build = REPOSITORY / "build"
    build.mkdir(exist_ok=True)
    with (build / "wheels.lock").open("w") as lock:  # another run may be at work in this checkout
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [
            *(REPOSITORY / "deploy" / "make-wheels", Path(sys.executable).parent),
            build / "wheels",
        ]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stdout + made.stderr
        shutil.copytree(build / "wheels", directory, dirs_exist_ok=True)


@pytest.fixture(scope="session")
def bundle(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an operator has unpacked on a server without Internet: install.sh and all it needs."""
    directory = once_a_run(tmp_path_factory, "bundle", partial(unpacked, wheels))
    (bundle,) = (path for path in directory.iterdir() if path.is_dir())
    return bundle


@pytest.fixture(scope="session")
def deb(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Debian package of these wheels, by itself in a directory."""
    (deb,) = once_a_run(tmp_path_factory, "debian", partial(debian.package, wheels)).iterdir()
    return deb
