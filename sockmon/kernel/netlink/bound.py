"""Whether this kernel lists sockets that are bound to a port, and neither connected nor listening.

Kernels do since Linux 6.8 (net/ipv4/inet_diag.c, the walk over bhash2). An older one leaves them
out without an error, so the dump is tried with one that certainly exists.
"""

import errno
import socket

from sockmon.kernel.family import Family
from sockmon.kernel.netlink import uapi
from sockmon.kernel.netlink.rows import RowBuffer
from sockmon.kernel.netlink.sockdiag import SockDiag
from sockmon.kernel.netlink.wire import DumpRequest

#: Of the loopback interface; it may be down.
_UNUSED = "127.83.77.1"


def lists_bound(diag: SockDiag) -> bool:
    """Bind a socket for a moment, in the calling thread's namespace, and ask for it.

    Where no port of any address is left to bind to, one of an address is that nobody uses. Where
    there is none either, others have bound them, and those are listed or not. Raises DumpError, and
    OSError when there can be no socket.
    """
    request = DumpRequest(uapi.Protocol.TCP, Family.IPV4, 1 << uapi.BOUND_INACTIVE)
    with socket.socket() as bound:
        for address in ("", _UNUSED):
            try:
                bound.bind((address, 0))
                break
            except OSError as error:
                if error.errno not in {errno.EADDRINUSE, errno.EADDRNOTAVAIL}:
                    raise
        return len(diag.dump(request, into=RowBuffer())) > 0
