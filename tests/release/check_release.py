"""What `make release` has built: complete, of one version, and its packages install and go.

Not among the tests: building takes minutes. `make check-release` runs it.
"""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

import sockmon
from tests.conftest import MACHINE, REPOSITORY

RELEASE = Path(os.environ.get("RELEASE", REPOSITORY / "build" / "release"))
VERSION = sockmon.__version__

#: A Debian root below a file system in memory; the host's rpm installs the package ($2) into it.
INSTALL = r"""
set -eu
cd "$3"
mount -t tmpfs none /mnt
mkdir /mnt/upper /mnt/work /mnt/tree
mount -t overlay none -o "lowerdir=$1,upperdir=/mnt/upper,workdir=/mnt/work" /mnt/tree
mount -t proc proc /mnt/tree/proc
mkdir -p /mnt/tree/var/lib/rpm
inside() { chroot /mnt/tree "$@"; }
# --force-debian: without the hint to use alien.
package() { rpm --root /mnt/tree --dbpath /var/lib/rpm "$@"; }
files() { (cd /mnt/tree; find etc opt usr var/lib -path var/lib/rpm -prune -o -type f -print); }
package --initdb
files >before
package --force-debian --nodeps --install "$2" >install 2>&1
files >after
package --nodeps --verify sockmon >verify 2>&1 || true
inside sockmon --version >version 2>&1
inside sockmon count >count 2>&1
inside sockmon check-config /etc/sockmon/sockmon.yaml >config 2>&1
inside id -un sockmon >user 2>&1
stat --format='%a %G' /mnt/tree/etc/sockmon/sockmon.yaml >mode
chroot /mnt/tree stat --format=%G /etc/sockmon/sockmon.yaml >group
package --force-debian --nodeps --upgrade --force "$2" >upgrade 2>&1
package --force-debian --nodeps --erase sockmon >erase 2>&1
files >removed
"""


def only(pattern: str) -> Path:
    """The one file of the release with such a name."""
    (found,) = RELEASE.glob(pattern)
    return found


def output(*command: str | Path) -> str:
    """What a command prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_checksums_are_those_of_all_files() -> None:
    lines = (RELEASE / "SHA256SUMS").read_text().splitlines()
    listed = {name: digest for digest, name in (line.split("  ") for line in lines)}
    files = {path.name: path for path in RELEASE.iterdir() if path.name != "SHA256SUMS"}
    assert listed == {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()
    }
    kinds = [".cdx.json", ".deb", ".rpm", ".tar.gz", ".tar.gz", ".whl"]
    assert sorted(map(_kind, files)) == kinds


def _kind(name: str) -> str:
    return next(kind for kind in (".cdx.json", ".tar.gz", ".deb", ".rpm", ".whl") if kind in name)


def test_all_are_of_this_version() -> None:
    assert output("dpkg-deb", "--field", only("*.deb"), "Version") == f"{VERSION}-1"
    assert output("rpm", "-qp", "--queryformat", "%{VERSION}", only("*.rpm")) == VERSION
    sbom = json.loads(only("*.cdx.json").read_text())
    assert sbom["metadata"]["component"]["version"] == VERSION
    with tarfile.open(only(f"sockmon-{VERSION}-cp*.tar.gz")) as bundle:
        assert any(name.endswith("/install.sh") for name in bundle.getnames())
    assert f"## {VERSION} - " in (REPOSITORY / "CHANGELOG.md").read_text() or (
        f"## Unreleased {VERSION}" in (REPOSITORY / "CHANGELOG.md").read_text()
    )


def test_the_wheel_is_made_of_the_source_package(tmp_path: Path) -> None:
    build = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation")
    subprocess.run([*build, "--wheel-dir", tmp_path, only(f"sockmon-{VERSION}.tar.gz")], check=True)
    (again,) = tmp_path.glob("*.whl")
    assert contents(again) == contents(only("*.whl"))


def contents(wheel: Path) -> Mapping[str, bytes]:
    """The files of a wheel by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_both_packages_hold_the_same_sockmon(tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "--extract", only("*.deb"), tmp_path / "deb"], check=True)
    deb = {
        f"/{path.relative_to(tmp_path / 'deb')}"
        for path in (tmp_path / "deb/usr/lib").rglob("*")
        if path.is_file()
    }
    rpm = output(
        "rpm", "-qp", "--queryformat", "[%{FILEMODES:perms} %{FILENAMES}\n]", only("*.rpm")
    )
    files = {line.split(" ", 1)[1] for line in rpm.splitlines() if line.startswith("-")}
    assert {file for file in files if file.startswith("/usr/lib/") and ".pyc" not in file} == deb


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """What the commands of INSTALL have printed, by name."""
    directory = tmp_path_factory.mktemp("rpm")
    script: list[str | Path] = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        INSTALL,
        "sh",
        MACHINE,
        only("*.rpm"),
        directory,
    ]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    printed = {path.name: path.read_text() for path in directory.iterdir()}
    assert done.returncode == 0, (done.stderr, {k: v for k, v in printed.items() if len(v) < 2000})
    return printed


def test_the_rpm_installs_and_runs(installed: Mapping[str, str]) -> None:
    assert installed["install"] == ""
    assert installed["verify"] == ""
    assert installed["version"] == f"sockmon {VERSION}\n"
    assert "total" in installed["count"]
    assert installed["mode"].startswith("640 ")
    assert installed["group"] == installed["user"] == "sockmon\n"
    assert "/usr/lib/sockmon/sockmon/__init__.py" in {f"/{f}" for f in installed["after"].split()}


def test_the_rpm_upgrades_and_leaves_nothing(installed: Mapping[str, str]) -> None:
    assert installed["upgrade"] == installed["erase"] == ""
    users = {
        f"etc/{name}-" for name in ("group", "gshadow", "passwd", "shadow", "subuid", "subgid")
    }
    left = set(installed["removed"].split()) - set(installed["before"].split())
    assert left <= users  # useradd's copies; the user stays
