"""Runs a command to which the kernel refuses sock_diag, as a sandbox does:

python -m tests.without_sock_diag ERRNO COMMAND [ARGUMENT...]

A seccomp filter makes socket(AF_NETLINK, ..., NETLINK_SOCK_DIAG) fail, for the command's life.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

from sockmon.kernel.netlink.uapi import NETLINK_SOCK_DIAG

_SOCKET = {"x86_64": 41, "aarch64": 198}
_AF_NETLINK = 16
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
NUMBER, _FIRST, _THIRD = 0, 16, 32  # places in struct seccomp_data


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def refuse(number: int) -> None:
    """Let the kernel refuse sock_diag to this process and its children with an errno."""
    steps = [
        (LOAD, 0, 0, NUMBER),
        (JUMP_IF_EQUAL, 0, 5, _SOCKET[platform.machine()]),
        (LOAD, 0, 0, _FIRST),
        (JUMP_IF_EQUAL, 0, 3, _AF_NETLINK),
        (LOAD, 0, 0, _THIRD),
        (JUMP_IF_EQUAL, 0, 1, NETLINK_SOCK_DIAG),
        (RETURN, 0, 0, ERRNO | number),
        (RETURN, 0, 0, ALLOW),
    ]
    install(steps)


def install(steps: list[tuple[int, int, int, int]]) -> None:
    """Filter the system calls of this process and its children by classic BPF."""
    program = _Program(len(steps), b"".join(struct.pack("=HBBI", *step) for step in steps))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in (
        (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0),
    ):
        if libc.prctl(*arguments) == -1:
            raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    refuse(getattr(errno, sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
