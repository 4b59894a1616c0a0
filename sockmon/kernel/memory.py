"""Keeps freed memory in the process, because the next poll needs as much again."""

import ctypes

_M_TRIM_THRESHOLD = -1  # malloc.h
_M_MMAP_THRESHOLD = -3
_KEPT_BYTES = 64 * 1024 * 1024


def disable_malloc_trim() -> None:
    """Make glibc keep up to 64 MiB of freed memory instead of returning it (mallopt(3)).

    Otherwise a large poll's temporary arrays cost thousands of page faults at every poll.
    With another C library this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
