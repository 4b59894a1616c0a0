"""Bundles of this sockmon, and of others that differ from it in a line."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY


def unpacked(wheels: Path, directory: Path) -> None:
    """Make the bundle, and unpack it as an operator does."""
    subprocess.run([REPOSITORY / "deploy" / "make-bundle", wheels, directory], check=True)
    (archive,) = directory.glob("sockmon-*.tar.gz")
    subprocess.run(["tar", "-xf", archive, "-C", directory], check=True)


def changed(bundle: Path, directory: Path, version: str, mistake: str = "") -> Path:
    """A bundle of another version; its daemon makes this mistake (lines of Python) at its start."""
    source = directory / "source"
    source.mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    shutil.copytree(
        REPOSITORY / "sockmon", source / "sockmon", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("completions", "man"):
        shutil.copytree(REPOSITORY / "deploy" / name, source / "deploy" / name)
    package = source / "sockmon" / "__init__.py"
    lines = package.read_text().splitlines()
    package.write_text(
        "\n".join(
            f'__version__ = "{version}"' if line.startswith("__version__") else line
            for line in lines
        )
    )
    with (source / "sockmon" / "daemon" / "daemon.py").open("a") as module:
        module.write(mistake)
    made = directory / "bundle"
    shutil.copytree(bundle, made)
    for wheel in made.glob("wheels/sockmon-*.whl"):
        wheel.unlink()
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
            *("--no-build-isolation", "--wheel-dir", made / "wheels", source),
        ],
        check=True,
    )
    return made
