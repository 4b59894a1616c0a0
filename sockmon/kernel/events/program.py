"""The program that counts state transitions of TCP sockets. Pure.

It is attached to the raw tracepoint inet_sock_set_state (Linux 4.16), whose arguments are the
socket, its old and its new state: net/ipv4/af_inet.c. What each transition means is said where it
is counted; what sockets are remembered for:

    sockets     address of struct sock -> since (ESTABLISHED; before that, since the first SYN),
                CLOSE_WAIT since, key of the group, state; oldest give way
    groups      key -> number of the row; oldest give way
    listeners   namespace's inode << 32 | port -> 1: for sockets older than the program
    rows        layout.py
    control     layout.py: the daemon's two words

It is loaded and attached twice, with the same maps. The kernel does not run a program on a
processor on which the same program has been interrupted, and does not report which transitions that
were (Linux 6.1: __bpf_trace_run() in kernel/trace/bpf_trace.c). Packets can interrupt it, and since
Linux 7.0, whose tracepoints are preemptible, other tasks, for milliseconds. What one of the two
misses, the other counts: the first to come writes the new state into the socket's entry, and the
other sees it there. No two transitions of one socket overlap, since the kernel has locked it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sockmon.kernel.events import layout
from sockmon.kernel.events.assembler import (
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    STACK,
    Assembler,
    Program,
)
from sockmon.kernel.events.btf import BtfError, Member
from sockmon.model.connection_events import BOUNDS, column
from sockmon.model.states import TcpState

#: The members that the program reads.
MEMBERS: Mapping[str, tuple[str, ...]] = {
    "sock_common": ("skc_net", "skc_num", "skc_dport"),
    "sock": ("sk_protocol", "sk_err"),
    "inet_sock": ("inet_sport",),
    "net": ("ns",),
    "ns_common": ("inum",),
}

TRACEPOINT = b"inet_sock_set_state"
#: Bytes of a socket's entry, and of the keys and values of the other maps.
SOCKET_BYTES = 32
_SINCE, _WAITING, _GROUP, _STATE = 0, 8, 16, 24

_TCP = 6
#: sk_err, asm-generic/errno.h; the few machines with other numbers have no BPF compiler.
_ENETUNREACH, _ECONNRESET, _ETIMEDOUT = 101, 104, 110
_ECONNREFUSED, _EHOSTDOWN, _EHOSTUNREACH = 111, 112, 113
_UNREACHABLE = (_ENETUNREACH, _EHOSTDOWN, _EHOSTUNREACH)
#: One end's FIN has been acknowledged.
_CLOSED = (TcpState.FIN_WAIT2, TcpState.CLOSE_WAIT, TcpState.LAST_ACK, TcpState.CLOSING)

# The program's memory, below the top of its stack.
_SCRATCH, _SOCK, _NOW, _LISTENER = -8, -16, -24, -32
_ENTRY = -64  # a socket's entry
_NUMBER, _ERROR = -72, -80


@dataclass(frozen=True, slots=True)
class Maps:
    """The descriptors of the maps."""

    sockets: int
    groups: int
    listeners: int
    rows: int
    control: int


def counting_program(members: Mapping[tuple[str, str], Member], maps: Maps) -> Program:
    """Return the program for a kernel whose structures are such; raises BtfError."""
    return _Builder(members, maps).build()


class _Builder:
    """Registers: r6 socket, r7 old state, r8 new state, r9 the row that is counted in."""

    def __init__(self, members: Mapping[tuple[str, str], Member], maps: Maps) -> None:
        self._a = Assembler()
        self._members = members
        self._maps = maps
        self._protocol_bytes = members["sock", "sk_protocol"].size
        if self._protocol_bytes not in (1, 2):
            raise BtfError("sk_protocol has neither one byte nor two")

    def build(self) -> Program:
        a = self._a
        a.load(8, R6, R1, 0)
        a.load(8, R7, R1, 8)
        a.load(8, R8, R1, 16)
        a.alu(R7, "&=", 15)
        a.alu(R8, "&=", 15)
        a.store(8, STACK, _SOCK, R6)
        # The first half of a close from here: what it was, its second half shows.
        a.jump_if(R8, "==", TcpState.FIN_WAIT1, "end")
        self._find_socket()
        self._find_row()
        self._count()
        a.label("end")
        a.alu(R0, "=", 0)
        a.exit()
        return a.program()

    # Which group the socket belongs to.

    def _find_socket(self) -> None:
        """Fill the entry on the stack; what opens or listens is remembered, and that is all."""
        a = self._a
        a.jump_if(R8, "==", TcpState.LISTEN, "listens")
        a.jump_if(R8, "==", TcpState.SYN_SENT, "connects")
        a.jump_if(R8, "!=", TcpState.SYN_RECV, "goes on")
        a.jump_if(R7, "==", TcpState.SYN_SENT, "end")  # both ends connected to each other
        a.jump("accepts")

        a.label("goes on")
        a.jump_if(R7, "==", TcpState.CLOSE, "end")
        a.jump_if(R7, "==", TcpState.LISTEN, "end")
        self._lookup(self._maps.sockets, _SOCK)
        a.jump_if(R0, "==", 0, "unknown")
        a.alu_register(R9, "=", R0)
        a.load(8, R1, R9, _STATE)
        a.jump_if_register(R1, "==", R8, "is counted")
        a.store(8, R9, _STATE, R8)
        for at in (_SINCE, _WAITING, _GROUP):
            a.load(8, R1, R9, at)
            a.store(8, STACK, _ENTRY + at, R1)
        self._read_clock()
        a.jump_if(R8, "!=", TcpState.ESTABLISHED, "not established")
        a.store(8, R9, _SINCE, R0)
        a.label("not established")
        a.jump_if(R8, "!=", TcpState.CLOSE_WAIT, "not waiting")
        a.store(8, R9, _WAITING, R0)
        a.label("not waiting")
        a.jump("found")

        a.label("is counted")
        a.jump_if(R8, "!=", TcpState.CLOSE, "end")
        a.map(R1, self._maps.sockets)
        self._address(R2, _SOCK)
        a.call("map_delete_elem")
        a.jump("end")

        self._remember_opening()
        self._find_unknown()
        a.label("found")

    def _remember_opening(self) -> None:
        """What listens, connects or is accepted is new, whatever was at its address before."""
        a = self._a
        a.label("listens")
        self._leave_unless_tcp()
        self._key_of_local_port("sock_common", "skc_num", swapped=False)
        a.store(8, STACK, _LISTENER, R9)
        a.store_number(8, STACK, _SCRATCH, 1)
        self._update(self._maps.listeners, _LISTENER, _SCRATCH)
        a.jump("end")

        # The remote port is set before the state is, the local one may not be: tcp_v4_connect().
        a.label("connects")
        self._leave_unless_tcp()
        self._read_netns()
        self._read_port("sock_common", "skc_dport", swapped=True)
        a.alu(R1, "|=", layout.OUTBOUND << 16)
        a.alu_register(R9, "|=", R1)
        a.jump("opens")

        # A copy of its listener, with the listener's port: inet_csk_clone_lock().
        a.label("accepts")
        self._leave_unless_tcp()
        self._key_of_local_port("sock_common", "skc_num", swapped=False)
        a.alu(R9, "|=", layout.INBOUND << 16)

        a.label("opens")
        self._read_clock()
        a.store(8, STACK, _ENTRY + _SINCE, R0)
        a.store_number(8, STACK, _ENTRY + _WAITING, 0)
        a.store(8, STACK, _ENTRY + _GROUP, R9)
        a.store(8, STACK, _ENTRY + _STATE, R8)
        self._update(self._maps.sockets, _SOCK, _ENTRY)
        a.jump("end")

    def _find_unknown(self) -> None:
        """A socket that is older than the program, or that gave way: its state before tells."""
        a = self._a
        a.label("unknown")
        self._leave_unless_tcp()
        a.store_number(8, STACK, _ENTRY + _SINCE, 0)
        a.store_number(8, STACK, _ENTRY + _WAITING, 0)
        # inet_sport, because skc_num is 0 once the port has been released: __inet_put_port().
        self._key_of_local_port("inet_sock", "inet_sport", swapped=True)
        a.jump_if(R7, "==", TcpState.SYN_SENT, "is outbound")
        a.jump_if(R7, "==", TcpState.SYN_RECV, "is inbound")
        a.store(8, STACK, _LISTENER, R9)
        self._lookup(self._maps.listeners, _LISTENER)
        a.jump_if(R0, "==", 0, "is outbound")
        a.label("is inbound")
        a.alu(R9, "|=", layout.INBOUND << 16)
        a.jump("has a key")
        a.label("is outbound")
        a.alu(R9, ">>=", 32)  # without the local port
        a.alu(R9, "<<=", 32)
        self._read_port("sock_common", "skc_dport", swapped=True)
        a.alu(R1, "|=", layout.OUTBOUND << 16)
        a.alu_register(R9, "|=", R1)
        a.label("has a key")
        a.store(8, STACK, _ENTRY + _GROUP, R9)
        a.store(8, STACK, _ENTRY + _STATE, R8)
        self._read_clock()
        a.jump_if(R8, "!=", TcpState.CLOSE_WAIT, "begins later")
        a.store(8, STACK, _ENTRY + _WAITING, R0)
        a.label("begins later")
        a.jump_if(R8, "!=", TcpState.ESTABLISHED, "remember")
        a.store(8, STACK, _ENTRY + _SINCE, R0)
        a.label("remember")
        self._update(self._maps.sockets, _SOCK, _ENTRY)
        # As a socket that is known has it: of before this transition.
        a.store_number(8, STACK, _ENTRY + _SINCE, 0)
        a.store_number(8, STACK, _ENTRY + _WAITING, 0)

    def _leave_unless_tcp(self) -> None:
        """MPTCP and DCCP sockets come by here too; an MPTCP connection's subflows are TCP."""
        a = self._a
        a.store_number(8, STACK, _SCRATCH, 0)
        self._read_member(R6, "sock", "sk_protocol", self._protocol_bytes)
        a.load(self._protocol_bytes, R1, STACK, _SCRATCH)
        a.jump_if(R1, "!=", _TCP, "end")

    def _key_of_local_port(self, structure: str, member: str, *, swapped: bool) -> None:
        """r9 = namespace << 32 | local port."""
        self._read_netns()
        self._read_port(structure, member, swapped=swapped)
        self._a.alu_register(R9, "|=", R1)

    def _read_netns(self) -> None:
        """r9 = inode of the socket's network namespace << 32."""
        a, members = self._a, self._members
        self._read_member(R6, "sock_common", "skc_net", 8)
        a.load(8, R3, STACK, _SCRATCH)
        self._address(R1, _SCRATCH)
        a.alu(R2, "=", 4)
        a.alu(R3, "+=", members["net", "ns"].offset + members["ns_common", "inum"].offset)
        a.call("probe_read_kernel")
        a.load(4, R9, STACK, _SCRATCH)
        a.alu(R9, "<<=", 32)

    def _read_port(self, structure: str, member: str, *, swapped: bool) -> None:
        """r1 = a port."""
        self._read_member(R6, structure, member, 2)
        self._a.load(2, R1, STACK, _SCRATCH)
        if swapped:
            self._a.network_to_host_16(R1)

    # Which row it has.

    def _find_row(self) -> None:
        """r9 = the group's row."""
        a, maps = self._a, self._maps
        self._lookup(maps.groups, _ENTRY + _GROUP)
        a.jump_if(R0, "==", 0, "needs a row")
        a.load(8, R2, R0, 0)
        a.map_value(R1, maps.control, 0)
        a.load(8, R1, R1, layout.RETIRED * 8)
        a.jump_if_register(R2, ">", R1, "has a row")

        a.label("needs a row")
        a.store_number(8, STACK, _SCRATCH, 0)
        self._lookup(maps.rows, _SCRATCH)
        a.jump_if(R0, "==", 0, "end")  # never: for the verifier
        a.map_value(R1, maps.control, 0)
        a.load(8, R3, R1, layout.FREED * 8)
        a.load(8, R2, R0, 0)
        a.alu_register(R2, "-=", R3)
        a.jump_if(R2, ">=", layout.ROWS, "no row is free")
        a.alu(R2, "=", 1)
        a.atomic_fetch_add(R0, 0, R2)
        a.alu(R2, "+=", 1)  # the number of the new row
        a.alu_register(R1, "=", R2)
        a.alu_register(R1, "-=", R3)
        a.jump_if(R1, ">", layout.ROWS, "no row is free")  # other processors were faster
        a.store(8, STACK, _NUMBER, R2)
        self._place_of_row()
        a.alu_register(R9, "=", R0)
        for word in range(layout.FIRST_COLUMN, layout.WORDS):
            a.store_number(8, R9, word * 8, 0)
        a.load(8, R1, STACK, _ENTRY + _GROUP)
        a.store(8, R9, layout.KEY * 8, R1)
        a.load(8, R1, STACK, _NUMBER)
        a.atomic_exchange(R9, layout.NUMBER * 8, R1)  # from here on it can be read
        self._update(maps.groups, _ENTRY + _GROUP, _NUMBER)
        a.jump("count")

        a.label("no row is free")
        a.load(8, R1, STACK, _ENTRY + _GROUP)
        a.alu(R1, ">>=", 16)
        a.alu(R1, "&=", 3)  # the direction
        a.store(8, STACK, _SCRATCH, R1)
        self._lookup(maps.rows, _SCRATCH)
        a.jump("row")

        a.label("has a row")
        self._place_of_row()
        a.label("row")
        a.jump_if(R0, "==", 0, "end")  # never: for the verifier
        a.alu_register(R9, "=", R0)

    def _place_of_row(self) -> None:
        """r0 = where row number r2 is."""
        a = self._a
        a.alu(R2, "&=", layout.ROWS - 1)
        a.alu(R2, "+=", layout.FIRST_ROW)
        a.store(8, STACK, _SCRATCH, R2)
        self._lookup(self._maps.rows, _SCRATCH)
        a.jump_if(R0, "==", 0, "end")  # never: for the verifier

    # What is counted.

    def _count(self) -> None:
        a = self._a
        a.label("count")
        a.jump_if(R8, "==", TcpState.CLOSE, "ends")
        a.jump_if(R8, "==", TcpState.ESTABLISHED, "established")
        a.jump_if(R8, "==", TcpState.CLOSE_WAIT, "closed there")
        a.jump_if(R8, "==", TcpState.LAST_ACK, "closes too")
        a.jump_if(R8, "==", TcpState.FIN_WAIT2, "closed here")
        a.jump_if(R8, "==", TcpState.CLOSING, "closed by both")
        a.jump("end")

        a.label("established")
        self._add("opened")
        a.jump_if(R7, "!=", TcpState.SYN_SENT, "end")
        self._time("connect", _ENTRY + _SINCE)
        a.jump("end")

        a.label("closed here")  # our FIN is acknowledged, and the other end has sent none
        self._add("closed_here")
        a.jump("end")

        a.label("closed there")
        self._add("closed_there")
        a.jump("end")

        a.label("closed by both")
        self._add("closed_both")
        a.jump("end")

        a.label("closes too")
        self._time("close_wait", _ENTRY + _WAITING)
        a.jump("end")

        a.label("ends")
        self._read_error()
        a.jump_if(R7, "==", TcpState.SYN_SENT, "failed")
        a.jump_if(R7, "==", TcpState.SYN_RECV, "failed")
        self._count_end()
        a.label("failed")
        self._count_failure()

    def _count_end(self) -> None:
        """A connection's end, and who made it, unless an end had closed."""
        a = self._a
        a.jump_if(R7, "!=", TcpState.CLOSE_WAIT, "did not wait")
        self._time("close_wait", _ENTRY + _WAITING)
        a.label("did not wait")
        a.load(8, R1, STACK, _ENTRY + _SINCE)
        a.jump_if(R1, "!=", 0, "was seen")
        self._add("unseen")
        a.label("was seen")
        self._time("lifetime", _ENTRY + _SINCE)
        a.load(4, R5, STACK, _ERROR)
        # When nothing is answered any more, the error is the last that ICMP reported, or ETIMEDOUT.
        for error in (_ETIMEDOUT, *_UNREACHABLE):
            a.jump_if(R5, "==", error, "aborted by timeout")
        # One end had closed, and that is counted. A reset after it ends nothing: it answers what is
        # sent to an end that has closed, such as the alert with which TLS says goodbye.
        for state in _CLOSED:
            a.jump_if(R7, "==", state, "end")
        a.jump_if(R5, "==", _ECONNRESET, "is reset")
        self._add("aborted_here")
        a.jump("end")
        a.label("is reset")
        a.jump_if(R7, "!=", TcpState.FIN_WAIT1, "aborted there")
        # It answers our FIN, or this kernel answers data that came after the application closed.
        self._add("closed_here")
        a.jump("end")
        a.label("aborted there")
        self._add("aborted_there")
        a.jump("end")
        a.label("aborted by timeout")
        self._add("aborted_timeout")
        a.jump("end")

    def _count_failure(self) -> None:
        a = self._a
        a.load(4, R5, STACK, _ERROR)
        reasons = {_ECONNREFUSED: "refused", _ETIMEDOUT: "timed_out", _ECONNRESET: "reset"}
        reasons |= dict.fromkeys(_UNREACHABLE, "unreachable")
        for error, reason in reasons.items():
            a.jump_if(R5, "==", error, f"failed_{reason}")
        a.jump_if(R5, "!=", 0, "failed_other")
        a.jump_if(R7, "!=", TcpState.SYN_SENT, "failed_other")
        # No error: the application gave up, or connect() itself did, for want of a port.
        self._read_port("inet_sock", "inet_sport", swapped=False)
        a.jump_if(R1, "==", 0, "failed_no_port")
        for reason in ("abandoned", *dict.fromkeys(reasons.values()), "no_port", "other"):
            a.label(f"failed_{reason}")
            self._add(f"failed_{reason}")
            a.jump("end")

    def _read_error(self) -> None:
        a = self._a
        a.store_number(8, STACK, _ERROR, 0)
        self._address(R1, _ERROR)
        a.alu(R2, "=", 4)
        a.alu_register(R3, "=", R6)
        a.alu(R3, "+=", self._members["sock", "sk_err"].offset)
        a.call("probe_read_kernel")

    def _add(self, counter: str) -> None:
        """Count one."""
        self._a.alu(R1, "=", 1)
        self._a.atomic_add(R9, _offset(counter), R1)

    def _time(self, histogram: str, since: int) -> None:
        """Count the time since then, if that is known."""
        a = self._a
        done, bucket = a.unique("done"), a.unique("bucket")
        a.load(8, R1, STACK, since)
        a.jump_if(R1, "==", 0, done)
        a.load(8, R2, STACK, _NOW)
        a.alu_register(R2, "-=", R1)
        a.atomic_add(R9, _offset(histogram), R2)
        a.alu_register(R3, "=", R9)
        a.alu(R3, "+=", _offset(histogram) + 8)
        for bound in BOUNDS:
            a.number_64(R4, round(bound * 1e9))
            a.jump_if_register(R2, "<=", R4, bucket)
            a.alu(R3, "+=", 8)
        a.label(bucket)
        a.alu(R1, "=", 1)
        a.atomic_add(R3, 0, R1)
        a.label(done)

    # Calls of helpers.

    def _read_clock(self) -> None:
        """r0 = now."""
        self._a.call("ktime_get_ns")
        self._a.store(8, STACK, _NOW, R0)

    def _read_member(self, base: int, structure: str, member: str, size: int) -> None:
        """Copy a member to the scratch memory."""
        a = self._a
        self._address(R1, _SCRATCH)
        a.alu(R2, "=", size)
        a.alu_register(R3, "=", base)
        a.alu(R3, "+=", self._members[structure, member].offset)
        a.call("probe_read_kernel")

    def _lookup(self, map_: int, key: int) -> None:
        """r0 = the value of the key on the stack, or 0."""
        self._a.map(R1, map_)
        self._address(R2, key)
        self._a.call("map_lookup_elem")

    def _update(self, map_: int, key: int, value: int) -> None:
        a = self._a
        a.map(R1, map_)
        self._address(R2, key)
        self._address(R3, value)
        a.alu(R4, "=", 0)  # BPF_ANY
        a.call("map_update_elem")

    def _address(self, register: int, offset: int) -> None:
        self._a.alu_register(register, "=", STACK)
        self._a.alu(register, "+=", offset)


def _offset(name: str) -> int:
    return (layout.FIRST_COLUMN + column(name)) * 8
