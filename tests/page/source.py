"""The page's source as its lock file says, apart from the checkout."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.conftest import REPOSITORY

_SOURCE = REPOSITORY / "page"


def installed(directory: Path) -> None:
    """Copy the source into the directory, as `page`, and install there what it needs."""
    copy = directory / "page"
    (directory / "docs").symlink_to(REPOSITORY / "docs")  # the runbooks
    shutil.copytree(_SOURCE, copy, ignore=shutil.ignore_patterns("node_modules"))
    npm(copy, "ci", "--ignore-scripts", "--no-audit", "--no-fund")


def npm(directory: Path, *arguments: str) -> None:
    ran = subprocess.run(
        ["npm", "--silent", *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CI": "1"},
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
