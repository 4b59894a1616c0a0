"""The Debian package, and others that differ from it a little."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY

MAKE_DEB = REPOSITORY / "deploy" / "make-deb"
BIN = Path(sys.executable).parent

#: The best compression, which make-deb chooses, takes half a minute.
QUICKLY = {**os.environ, "DPKG_DEB_COMPRESSOR_TYPE": "gzip", "DPKG_DEB_COMPRESSOR_LEVEL": "1"}


def package(wheels: Path, directory: Path) -> None:
    """Make the package of these wheels in a directory."""
    made = subprocess.run(
        [MAKE_DEB, BIN, wheels, directory],
        capture_output=True,
        text=True,
        check=False,
        env=QUICKLY,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    assert made.stderr == ""


def as_version(deb: Path, version: str, directory: Path, config: str | None = None) -> Path:
    """The same package under another version, with another configuration if one is given."""
    old = deb.name.split("_")[1].split("-")[0]
    root = directory / version
    subprocess.run(["dpkg-deb", "--raw-extract", deb, root], check=True)
    for file in (root / "DEBIAN/control", root / "usr/lib/sockmon/sockmon/__init__.py"):
        file.write_text(file.read_text().replace(old, version))
    if config is not None:
        (root / "etc/sockmon/sockmon.yaml").write_text(config)
    made = directory / deb.name.replace(old, version)
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Znone", "--build", root, made],
        check=True,
        capture_output=True,
    )
    shutil.rmtree(root)
    return made
