"""Boots kernels that tests/kernels/install fetches, and runs commands in them."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.conftest import REPOSITORY

_HERE = Path(__file__).parent
#: The kernels that there are, oldest first: Debian 11, 12, 13 and unstable, as processes.
VERSIONS = ("5.10", "6.1", "6.12", "7.2")
#: The kernels of Debian's servers, under QEMU; the last is Debian 13's of backports.
MACHINES = ("5.10-amd64", "6.1-amd64", "6.12-amd64", "7.2-amd64", "7.3-amd64")


def install(versions: Sequence[str]) -> None:
    """Fetch those that are not there yet; raises CalledProcessError."""
    subprocess.run([_HERE / "install", *versions], check=True)


def boot(
    version: str,
    *command: str,
    without: Sequence[str] = (),
    cgroups: str = "v2",
    seconds: int = 600,
) -> subprocess.CompletedProcess[str]:
    """Run a command as a guest's only program; its exit status is the result's.

    without: modules that the guest does not have. cgroups: v2, v1, or hybrid for both. seconds:
    after which it is ended.
    """
    left_out = [word for module in without for word in ("-x", module)]
    return subprocess.run(
        [_HERE / "boot", "-c", cgroups, "-t", str(seconds), *left_out, version, *command],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


def run_pytest(
    version: str, *arguments: str, cgroups: str = "v2", seconds: int = 600
) -> subprocess.CompletedProcess[str]:
    """Run pytest in a guest."""
    python = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist"]
    return boot(version, *python, *arguments, cgroups=cgroups, seconds=seconds)
