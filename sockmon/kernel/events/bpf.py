"""bpf(2): maps, programs, and attaching them. Needs CAP_BPF and CAP_PERFMON."""

import ctypes
import errno
import os
import struct
from enum import IntEnum

from sockmon.kernel.errors import KernelError

#: Number of the system call: all machines that have the newer, common table, and x86-64.
_SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "loongarch64": 280, "s390x": 351}
_SYSCALL |= {"ppc64le": 361, "ppc64": 361}
_MAP_CREATE, _UPDATE, _PROG_LOAD, _RAW_TRACEPOINT_OPEN, _FREEZE = 0, 2, 5, 17, 22
_RAW_TRACEPOINT_PROGRAM = 17
_LOG_BYTES = 1 << 20
#: Without it no program can read what it counts. With lockdown=confidentiality the verifier says
#: that there is no such helper: bpf_tracing_func_proto() in kernel/trace/bpf_trace.c.
_READING = "bpf_probe_read_kernel#"
_LOCKED_HINT = (
    "see /sys/kernel/security/lockdown: counting needs none or [integrity], "
    "else set events.enabled to false"
)
_HINT = (
    "it needs CAP_BPF and CAP_PERFMON, a SystemCallFilter= that has bpf, and Linux 5.12 or newer"
)


class MapKind(IntEnum):
    """Of the kinds of maps, those that are used here."""

    ARRAY = 2
    LRU_HASH = 9


#: The array can be mapped into memory. Since Linux 5.5.
MAPPABLE = 1 << 10


def create_map(kind: MapKind, key: int, value: int, entries: int, name: str, flags: int = 0) -> int:
    """Return a new map's descriptor; sizes in bytes. Raises KernelError."""
    attributes = struct.pack(
        "=IIIIIII16s", kind, key, value, entries, flags, 0, 0, name.encode()[:15]
    )
    return _call(_MAP_CREATE, attributes, f"making the eBPF map {name}")


def update(map_: int, key: bytes, value: bytes) -> None:
    """Set an entry of a map; raises KernelError."""
    keys, values = ctypes.create_string_buffer(key), ctypes.create_string_buffer(value)
    attributes = struct.pack("=IxxxxQQQ", map_, ctypes.addressof(keys), ctypes.addressof(values), 0)
    _call(_UPDATE, attributes, "writing to an eBPF map")


def freeze(map_: int) -> None:
    """Let only programs write to a map: no process, by bpf(2) or mmap(2). Raises KernelError.

    A map that is made with BPF_F_RDONLY could not be mapped at all.
    """
    _call(_FREEZE, struct.pack("=I", map_), "making an eBPF map read-only")


def load(code: bytes, name: str) -> int:
    """Load a program for raw tracepoints, and return its descriptor; raises KernelError.

    When the kernel's verifier does not accept it, the error has the verifier's last line.
    """
    operation = "loading the eBPF program"
    try:
        return _load(code, name, None)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOSYS):
            raise _failed(operation, error) from error
        log = ctypes.create_string_buffer(_LOG_BYTES)
        try:
            return _load(code, name, log)
        except OSError as again:
            lines = log.value.decode(errors="replace").strip().splitlines()
            said = [line for line in lines if not line.startswith(("processed", "verification"))]
            if said and _READING in said[-1]:
                detail = "the kernel is locked down: no program may read its memory"
                raise KernelError(operation, "EPERM", detail, _LOCKED_HINT) from again
            reason = errno.errorcode.get(again.errno or 0, "errno")
            detail = f"{reason}: the kernel's verifier says: {said[-1] if said else 'nothing'}"
            raise KernelError(operation, reason, detail, _HINT) from again


def attach(program: int, tracepoint: bytes) -> int:
    """Attach a program to a raw tracepoint until the descriptor is closed; raises KernelError."""
    name = ctypes.create_string_buffer(tracepoint)
    attributes = struct.pack("=QI", ctypes.addressof(name), program)
    return _call(_RAW_TRACEPOINT_OPEN, attributes, "attaching the eBPF program")


def _load(code: bytes, name: str, log: "ctypes.Array[ctypes.c_char] | None") -> int:
    instructions, license_ = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"GPL")
    attributes = struct.pack(
        "=IIQQIIQII16s",
        *(_RAW_TRACEPOINT_PROGRAM, len(code) // 8),
        *(ctypes.addressof(instructions), ctypes.addressof(license_)),
        *((1, len(log), ctypes.addressof(log)) if log is not None else (0, 0, 0)),
        *(0, 0, name.encode()[:15]),
    )
    return _raw(_PROG_LOAD, attributes)


def _call(command: int, attributes: bytes, operation: str) -> int:
    try:
        return _raw(command, attributes)
    except OSError as error:
        raise _failed(operation, error) from error


def _raw(command: int, attributes: bytes) -> int:
    """Call bpf(2); raises OSError."""
    number = _SYSCALL.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, "bpf")
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    answer: int = libc.syscall(
        ctypes.c_long(number), command, ctypes.byref(buffer), ctypes.c_uint(len(attributes))
    )
    if answer < 0:
        raise OSError(ctypes.get_errno(), "bpf")
    return answer


def _failed(operation: str, error: OSError) -> KernelError:
    return KernelError.from_errno(operation, error.errno or errno.EIO, _HINT)
