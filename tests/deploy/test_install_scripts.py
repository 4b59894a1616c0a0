"""The shell scripts, and the bundle that install.sh is part of."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.deploy.bundles import unpacked

SCRIPTS = sorted(
    path.relative_to(REPOSITORY)
    for place in (".ci", "deploy", "tests")
    for path in (REPOSITORY / place).rglob("*")
    if path.is_file() and path.read_bytes().startswith(b"#!/bin/sh")
)


@pytest.mark.component("shellcheck")
@pytest.mark.parametrize("script", SCRIPTS, ids=str)
def test_shellcheck_finds_nothing(script: Path) -> None:
    checked = subprocess.run(
        ["shellcheck", "--external-sources", "--check-sourced", script],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.stdout + checked.stderr == ""


def test_the_bundle_is_the_same_each_time(wheels: Path, tmp_path: Path) -> None:
    for place in ("first", "second"):
        unpacked(wheels, tmp_path / place)
    (first,), (second,) = ((tmp_path / place).glob("*.tar.gz") for place in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


def test_the_bundle_has_what_its_reader_is_told_of(bundle: Path) -> None:
    assert (bundle / "README.md").read_text() == (REPOSITORY / "deploy/README.md").read_text()
    for held, original in (
        ("examples/config.example.yaml", "config.example.yaml"),
        ("examples/prometheus/rules", "deploy/prometheus/rules"),
        ("examples/grafana/dashboards", "grafana/dashboards"),
        ("runbooks", "docs/runbooks"),
        ("zh", "docs/zh"),
    ):
        ours, theirs = (
            {path.name: path.read_bytes() for path in (place, *place.rglob("*")) if path.is_file()}
            for place in (bundle / "doc" / held, REPOSITORY / original)
        )
        assert ours
        assert ours == theirs


def test_a_bundle_of_no_wheels_is_refused(tmp_path: Path) -> None:
    made = subprocess.run(
        [REPOSITORY / "deploy" / "make-bundle", tmp_path, tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 1
    assert made.stderr == (
        f"make-bundle: {tmp_path} does not hold one wheel of sockmon: run make wheels\n"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("script", ["make-rpm", "make-release"])
def test_what_makes_a_release_says_how_it_is_called(script: str) -> None:
    made = subprocess.run(
        [REPOSITORY / "deploy" / script, "one"], capture_output=True, text=True, check=False
    )
    assert made.returncode == 2
    assert made.stderr.startswith(f"usage: deploy/{script} BIN ")


def test_a_release_has_each_kind_of_package() -> None:
    """The guard of `make check-release`, which takes minutes."""
    script = (REPOSITORY / "deploy" / "make-release").read_text()
    assert set(re.findall(r"deploy/(make-\w+|sbom)", script)) == {
        "make-release",
        "make-wheels",
        "make-deb",
        "make-rpm",
        "make-bundle",
        "sbom",
    }


def test_every_wheel_fits_a_c_library_as_old_as_that_of_rhel_8(wheels: Path) -> None:
    """PEP 600: manylinux_2_N needs glibc 2.N; manylinux2014 is manylinux_2_17, and so on."""
    found = sorted(wheels.glob("*.whl"))
    assert found
    needed = {
        path.name: min(map(int, re.findall(r"manylinux_2_(\d+)", path.stem)), default=0)
        for path in found
    }
    assert {name: minor for name, minor in needed.items() if minor > 28} == {}
