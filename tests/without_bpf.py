"""Runs a command to which the kernel refuses bpf(), as a sandbox does:

python -m tests.without_bpf COMMAND [ARGUMENT...]
"""

import errno
import os
import platform
import sys

from tests.without_sock_diag import ALLOW, ERRNO, JUMP_IF_EQUAL, LOAD, NUMBER, RETURN, install

_BPF = {"x86_64": 321, "aarch64": 280}

if __name__ == "__main__":
    install(
        [
            (LOAD, 0, 0, NUMBER),
            (JUMP_IF_EQUAL, 0, 1, _BPF[platform.machine()]),
            (RETURN, 0, 0, ERRNO | errno.EPERM),
            (RETURN, 0, 0, ALLOW),
        ]
    )
    os.execvp(sys.argv[1], sys.argv[1:])
