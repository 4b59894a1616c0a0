"""Whether this kernel lists sockets that are bound to a port, and neither connected nor listening.

Kernels do since Linux 6.8 (net/ipv4/inet_diag.c, the walk over bhash2). An older one leaves them
out without a word, so it is asked for one that is certainly there.
"""

import errno
import socket

from sockmon.kernel.family import Family
from sockmon.kernel.netlink import uapi
from sockmon.kernel.netlink.rows import RowBuffer
from sockmon.kernel.netlink.sockdiag import SockDiag
from sockmon.kernel.netlink.wire import DumpRequest


def lists_bound(diag: SockDiag) -> bool:
    """Bind a socket for a moment, in the calling thread's namespace, and ask for it.

    Where no port is left to bind to, others hold them, and those are listed or not. Raises
    DumpError, and OSError when there can be no socket.
    """
    request = DumpRequest(uapi.Protocol.TCP, Family.IPV4, 1 << uapi.BOUND_INACTIVE)
    with socket.socket() as bound:
        try:
            bound.bind(("", 0))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        return len(diag.dump(request, into=RowBuffer())) > 0
