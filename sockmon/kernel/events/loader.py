"""Loads the counting program, and maps its rows: with CAP_BPF and CAP_PERFMON, or as they come."""

import mmap
import os
import struct
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Self

import numpy as np

from sockmon.kernel.errors import KernelError, ProcError
from sockmon.kernel.events import bpf, layout
from sockmon.kernel.events.bpf import MapKind
from sockmon.kernel.events.btf import LONGEST as LONGEST_BTF
from sockmon.kernel.events.btf import BtfError, Member, members
from sockmon.kernel.events.program import MEMBERS, SOCKET_BYTES, TRACEPOINT, Maps, counting_program
from sockmon.kernel.events.rows import Increments, RowReader

BTF = Path("/sys/kernel/btf/vmlinux")

#: What the maps hold at most, in addition to the rows: 8 MB of kernel memory in all.
SOCKETS, GROUPS, LISTENERS = 65536, 2 * layout.ROWS, 4096

_BTF_HINT = "counting events needs a kernel with CONFIG_DEBUG_INFO_BTF"
_KEY = struct.Struct("=Q")


@dataclass(frozen=True, slots=True)
class Descriptors:
    """What keeps the program running and what it counts readable; closed, all of it is gone.

    link, second_link: the program, attached twice, see program.py. rows, control: arrays to be
    mapped, see layout.py.
    """

    link: int
    second_link: int
    rows: int
    control: int

    def close(self) -> None:
        """Close them."""
        for descriptor in (self.link, self.second_link, self.rows, self.control):
            os.close(descriptor)


def load(listeners: Iterable[tuple[int, int]] = (), btf: Path = BTF) -> Descriptors:
    """Load and attach the program; raises KernelError.

    listeners: the (inode of a network namespace, port) pairs that are listened on; no more than
    LISTENERS of them are used.
    """
    layout_of_kernel = read_members(btf)
    opened: list[int] = []
    try:
        maps = make_maps(opened)
        for _, (netns, port) in zip(range(LISTENERS), listeners, strict=False):
            bpf.update(maps.listeners, _KEY.pack(netns << 32 | port), _KEY.pack(1))
        bpf.freeze(maps.rows)
        code = _code(layout_of_kernel, maps)
        for _ in range(2):
            opened.append(bpf.load(code, "sockmon_events"))
            opened.append(bpf.attach(opened[-1], TRACEPOINT))
        descriptors = Descriptors(opened[-3], opened[-1], maps.rows, maps.control)
    except KernelError:
        for descriptor in opened:
            os.close(descriptor)
        raise
    for descriptor in opened:
        if descriptor not in astuple(descriptors):
            os.close(descriptor)  # the program holds the maps, and the link the program
    return descriptors


def read_members(path: Path) -> dict[tuple[str, str], Member]:
    """Read from BTF where the structures' members are; raises KernelError."""
    operation = f"reading {path}"
    try:
        with path.open("rb") as file:
            return members(file.read(LONGEST_BTF + 1), MEMBERS)
    except OSError as error:
        raise ProcError.from_errno(operation, error.errno or 0, _BTF_HINT) from error
    except BtfError as error:
        raise ProcError(operation, "malformed", str(error), _BTF_HINT) from error


def make_maps(opened: list[int]) -> Maps:
    """Make the maps; each is appended to `opened` at once. Raises KernelError."""
    for kind, key, value, entries, name, flags in (
        (MapKind.LRU_HASH, 8, SOCKET_BYTES, SOCKETS, "sockmon_sockets", 0),
        (MapKind.LRU_HASH, 8, 8, GROUPS, "sockmon_groups", 0),
        (MapKind.LRU_HASH, 8, 8, LISTENERS, "sockmon_listen", 0),
        (MapKind.ARRAY, 4, layout.WORDS * 8, layout.ENTRIES, "sockmon_rows", bpf.MAPPABLE),
        (MapKind.ARRAY, 4, layout.CONTROL_BYTES, 1, "sockmon_control", bpf.MAPPABLE),
    ):
        opened.append(bpf.create_map(kind, key, value, entries, name, flags))
    return Maps(*opened)


def _code(layout_of_kernel: dict[tuple[str, str], Member], maps: Maps) -> bytes:
    try:
        return counting_program(layout_of_kernel, maps).code
    except BtfError as error:
        raise ProcError(f"reading {BTF}", "malformed", str(error), _BTF_HINT) from error


class EventCounter:
    """The running program, read from its mapped memory. For one thread."""

    def __init__(self, descriptors: Descriptors) -> None:
        """Take over the descriptors; raises KernelError, and then they are closed."""
        self._descriptors = descriptors
        try:
            self._rows = _mapped(descriptors.rows, layout.PAGE_BYTES, mmap.PROT_READ)
            self._control = _mapped(
                descriptors.control, layout.CONTROL_BYTES, mmap.PROT_READ | mmap.PROT_WRITE
            )
        except (OSError, ValueError) as error:
            descriptors.close()
            reason = f"mapping the eBPF program's memory: {error}"
            raise KernelError(reason, "malformed", "it is no memory of this version") from error
        words = np.frombuffer(self._rows, np.uint64, layout.PAGE_BYTES // 8)
        control = np.frombuffer(self._control, np.uint64, layout.CONTROL_BYTES // 8)
        self._reader = RowReader(words.reshape(layout.ENTRIES, layout.WORDS), control)

    @classmethod
    def loaded(cls, listeners: Iterable[tuple[int, int]] = ()) -> Self:
        """Load the program in this process; raises KernelError."""
        return cls(load(listeners))

    @property
    def in_use(self) -> int:
        """How many rows are in use, of layout.ROWS."""
        return self._reader.in_use

    def read(self, now: float) -> Increments:
        """Return what was counted since the last call; raises KernelError."""
        return self._reader.read(now)

    def close(self) -> None:
        """Detach the program: nothing of it is left in the kernel, unless another holds it."""
        self._descriptors.close()


def _mapped(descriptor: int, size: int, protection: int) -> mmap.mmap:
    pages = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    return mmap.mmap(descriptor, pages, mmap.MAP_SHARED, protection)
