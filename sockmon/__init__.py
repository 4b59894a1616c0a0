"""sockmon: a Linux host's TCP sockets, counted, aged and diagnosed from netlink sock_diag."""

import os

__version__ = "0.1.0"

# NumPy's OpenBLAS would start a thread for every core; nothing here multiplies matrices.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
