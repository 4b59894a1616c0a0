"""The laboratory: real sockets in real states, in network namespaces of their own.

`states` holds TCP's eleven states still; `experiments` makes the conditions of the diagnoses. What
`sockmon drill` makes too is in `sockmon.drill`. They are context managers that work in a `NetNs`
(or across a `Link`) and clean up after themselves. Nothing here asks sockmon anything.
"""

from sockmon.drill.lab.addresses import LOOPBACK, AddressKind, Direction, Host, TcpState
from sockmon.drill.lab.held_sockets import Held, census
from sockmon.drill.lab.netns import NetNs
from sockmon.drill.lab.veth_link import CLIENT, SERVER, Link, linked
from tests.lab import experiments, mptcp, states
from tests.lab.waiting import PATIENCE, eventually

__all__ = [
    "CLIENT",
    "LOOPBACK",
    "PATIENCE",
    "SERVER",
    "AddressKind",
    "Direction",
    "Held",
    "Host",
    "Link",
    "NetNs",
    "TcpState",
    "census",
    "eventually",
    "experiments",
    "linked",
    "mptcp",
    "states",
]
