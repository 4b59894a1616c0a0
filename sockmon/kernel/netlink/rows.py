"""Sockets as the kernel reports them, and the memory that they are decoded into."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sockmon.kernel.netlink import uapi
from sockmon.kernel.netlink.uapi import Attribute

_FIRST_CAPACITY = 1024


class AttributeField(NamedTuple):
    """A fixed place inside an attribute's payload, copied out for every socket."""

    name: str
    attribute: Attribute
    offset: int
    words: int


#: Sent with every full socket, skipped.
CGROUP_ID = AttributeField("cgroup_id", Attribute.CGROUP_ID, 0, 2)
#: SK_MEMINFO_DROPS: at a listener, the connections dropped there.
DROPS = AttributeField("drops", Attribute.SKMEMINFO, 32, 1)
#: The first word of tcp_info holds tcpi_state: never 0 where there is a tcp_info.
INFO_PRESENT = AttributeField("info_present", Attribute.INFO, 0, 1)
#: tcpi_last_data_sent, tcpi_last_data_recv, tcpi_last_ack_recv: milliseconds ago.
DATA_SENT = AttributeField("data_sent_ms", Attribute.INFO, 44, 1)
DATA_RECEIVED = AttributeField("data_received_ms", Attribute.INFO, 52, 1)
ACK_RECEIVED = AttributeField("ack_received_ms", Attribute.INFO, 56, 1)
#: tcpi_bytes_acked and tcpi_bytes_received (Linux 4.1). The peer's FIN counts as one byte.
BYTES_ACKED = AttributeField("bytes_acked", Attribute.INFO, 120, 2)
BYTES_RECEIVED = AttributeField("bytes_received", Attribute.INFO, 128, 2)

#: Of an MPTCP connection, struct mptcp_info has the same times, from kernel 6.10 on. Before them
#: stands the number of its subflows, which is not 0.
MPTCP_FIELDS = (
    CGROUP_ID,
    DROPS,
    AttributeField(INFO_PRESENT.name, Attribute.INFO, 80, 2),
    AttributeField(DATA_SENT.name, Attribute.INFO, 84, 1),
    AttributeField(DATA_RECEIVED.name, Attribute.INFO, 88, 1),
    AttributeField(ACK_RECEIVED.name, Attribute.INFO, 92, 1),
)

#: The fields of every dump.
FIELDS = (CGROUP_ID, DROPS)
#: The fields of the second dump, of sockets in CLOSE_WAIT and FIN_WAIT2.
INFO_FIELDS = (
    INFO_PRESENT,
    DATA_SENT,
    DATA_RECEIVED,
    ACK_RECEIVED,
    BYTES_ACKED,
    BYTES_RECEIVED,
)


@dataclass(frozen=True, slots=True)
class Rows:
    """One row for each socket, in the order of the dump.

    `messages` has dtype uapi.INET_DIAG_MSG; `fields` maps an AttributeField's name to unsigned
    64-bit numbers, 0 where the kernel sent no such attribute.
    """

    messages: NDArray[np.void]
    fields: dict[str, NDArray[np.uint64]]

    def __len__(self) -> int:
        return len(self.messages)


class RowBuffer:
    """Memory for rows that is kept from one poll to the next.

    New memory costs a page fault for every 4 KiB: with 300,000 sockets a twentieth of a poll. So
    rows are only valid until the buffer is cleared for the next poll.
    """

    def __init__(self, fields: tuple[AttributeField, ...] = FIELDS) -> None:
        self.fields = fields
        self._store = _allocate(_FIRST_CAPACITY, fields)
        self._used = 0

    def __len__(self) -> int:
        return self._used

    def append(self, count: int) -> Rows:
        """Return `count` new rows at the end, to be filled in."""
        if self._used + count > len(self._store):
            self._grow(self._used + count)
        begin, self._used = self._used, self._used + count
        return self._slice(begin)

    def truncate(self, count: int = 0) -> None:
        """Forget all but the first `count` rows."""
        self._used = min(self._used, count)

    def rows(self) -> Rows:
        """Return all rows."""
        return self._slice(0)

    def _slice(self, begin: int) -> Rows:
        part = slice(begin, self._used)
        return Rows(
            self._store.messages[part],
            {name: values[part] for name, values in self._store.fields.items()},
        )

    def _grow(self, needed: int) -> None:
        kept, grown = self.rows(), _allocate(needed + needed // 4, self.fields)
        grown.messages[: self._used] = kept.messages
        for name, values in kept.fields.items():
            grown.fields[name][: self._used] = values
        self._store = grown


def _allocate(capacity: int, fields: tuple[AttributeField, ...]) -> Rows:
    return Rows(
        np.empty(capacity, uapi.INET_DIAG_MSG),
        {field.name: np.empty(capacity, np.uint64) for field in fields},
    )
