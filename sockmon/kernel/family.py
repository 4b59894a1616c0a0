"""Address families, by the kernel's numbers."""

from enum import IntEnum


class Family(IntEnum):
    """AF_INET and AF_INET6 (include/linux/socket.h)."""

    IPV4 = 2
    IPV6 = 10
