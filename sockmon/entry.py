"""The command `sockmon`, and what must hold before NumPy can be loaded.

NumPy's wheels are built for x86-64-v2 and for machines with the least significant byte first, and
so is the decoding of netlink messages. On an older processor, as many virtual machines have
(qemu64, kvm64), loading NumPy ends the process with SIGILL, without a word.
"""

import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

#: What x86-64-v2 adds and such processors lack, by the names in /proc/cpuinfo.
NEEDED = ("ssse3", "sse4_1", "sse4_2", "popcnt")
_CPUINFO = Path("/proc/cpuinfo")
_CPUINFO_BYTES = 8192  # of the first processor


def entry_point() -> NoReturn:
    """Run sockmon, or say in one line why it cannot run here."""
    refusal = unfit(os.uname().machine, sys.byteorder)
    if refusal:
        sys.exit(f"sockmon: {refusal}")
    from sockmon.commands.cli import entry_point as run  # noqa: PLC0415 - loads NumPy

    run()


def unfit(machine: str, byte_order: str, cpuinfo: Path = _CPUINFO) -> str | None:
    """Return why sockmon cannot run on this machine, None if it can."""
    if byte_order != "little":
        return f"{machine} is big-endian: sockmon runs on little-endian machines only"
    if machine != "x86_64":
        return None
    try:
        with cpuinfo.open("rb") as file:
            lacking = lacks(file.read(_CPUINFO_BYTES).decode("ascii", "replace"))
    except OSError:
        return None  # hidden: NumPy will show
    if not lacking or not _numpy_ends_with_sigill():
        return None
    return (
        f"this processor lacks {', '.join(lacking)}, and NumPy needs x86-64-v2. In a virtual "
        "machine choose a newer processor model (qemu: -cpu host or x86-64-v2-AES)"
    )


def lacks(cpuinfo: str) -> tuple[str, ...]:
    """Parse /proc/cpuinfo: return what is needed and not there, nothing if no flags are shown."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            flags = set(value.split())
            return tuple(feature for feature in NEEDED if feature not in flags)
    return ()


def _numpy_ends_with_sigill() -> bool:
    """Try it in a child: a NumPy that was built on this machine may do with less."""
    script = f"import sys; sys.path[:] = {sys.path!r}; import numpy"
    child = os.posix_spawn(sys.executable, [sys.executable, "-c", script], os.environ)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == -signal.SIGILL
