"""Freed memory stays with the process: each poll needs as much as the one before."""

import ctypes

_M_TRIM_THRESHOLD = -1  # malloc.h
_M_MMAP_THRESHOLD = -3
_KEPT_BYTES = 64 * 1024 * 1024


def disable_malloc_trim() -> None:
    """Have glibc return less than 64 MiB of freed memory to the kernel (mallopt(3)).

    A large poll's temporary arrays otherwise cost thousands of page faults, poll after poll.
    With another C library nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
