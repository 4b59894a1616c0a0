"""The laboratory: real sockets in real states, in network namespaces of their own.

`states` holds TCP's eleven states still; `experiments` makes the conditions of the diagnoses.
Both are context managers that work in a `NetNs` (or across a `Link`) and clean up after
themselves. Nothing here asks sockmon anything.
"""

from tests.lab import experiments, states
from tests.lab.held import Held, census
from tests.lab.link import CLIENT, SERVER, Link, linked
from tests.lab.netns import NetNs
from tests.lab.terms import LOOPBACK, AddressKind, Host, Role, TcpState
from tests.lab.waiting import eventually

__all__ = [
    "CLIENT",
    "LOOPBACK",
    "SERVER",
    "AddressKind",
    "Held",
    "Host",
    "Link",
    "NetNs",
    "Role",
    "TcpState",
    "census",
    "eventually",
    "experiments",
    "linked",
    "states",
]
