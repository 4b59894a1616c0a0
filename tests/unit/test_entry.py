"""A machine that cannot run sockmon is told so, before NumPy ends the process without a word."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sockmon.entry import NEEDED, lacks, unfit

#: What qemu64 has, QEMU's default model: enough for x86-64, and no more.
QEMU64 = "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat mmx fxsr sse sse2 lm cx16"
BEFORE = "processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: "
AFTER = "\nbugs\t\t: fxsave_leak\n\nprocessor\t: 1\n"

ILLEGAL = "import os, signal; os.kill(os.getpid(), signal.SIGILL)"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "cpuinfo"
    path.write_text(BEFORE + QEMU64 + AFTER)
    return path


@pytest.mark.parametrize("absent", NEEDED)
def test_each_feature_is_needed(absent: str) -> None:
    there = " ".join(feature for feature in NEEDED if feature != absent)
    assert lacks(f"{BEFORE}{QEMU64} {there}{AFTER}") == (absent,)


def test_a_processor_that_has_them_all_is_fit() -> None:
    assert lacks(f"{BEFORE}{QEMU64} {' '.join(NEEDED)}{AFTER}") == ()


def test_where_no_flags_are_shown_nothing_is_known() -> None:
    assert lacks("processor\t: 0\nmodel name\t: UML\n") == ()


def test_an_old_processor_is_named_with_what_it_lacks(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text(ILLEGAL)
    monkeypatch.syspath_prepend(tmp_path)
    refusal = unfit("x86_64", "little", old)
    assert refusal is not None
    assert refusal.startswith(
        f"this processor lacks {', '.join(NEEDED)}, and NumPy needs x86-64-v2"
    )


def test_a_numpy_that_runs_there_will_do(old: Path) -> None:
    assert unfit("x86_64", "little", old) is None


def test_other_machines_are_not_asked_for_it(old: Path, tmp_path: Path) -> None:
    assert unfit("aarch64", "little", old) is None
    assert unfit("x86_64", "little", tmp_path / "none") is None


def test_the_other_byte_order_is_refused() -> None:
    assert unfit("s390x", "big") == (
        "s390x is big-endian: sockmon runs on little-endian machines only"
    )


def test_the_command_begins_here_and_this_machine_is_fit() -> None:
    assert unfit(os.uname().machine, sys.byteorder) is None
    done = subprocess.run(
        [sys.executable, "-m", "sockmon", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("sockmon ")
