"""Sockets that a process holds and that the kernel has closed, over several polls."""

import numpy as np

from sockmon.model.closed_sockets import ClosedSockets
from sockmon.model.descriptors import DescriptorUse, Listing
from sockmon.model.owner import Process
from sockmon.model.table import SocketTable
from tests.unit.detect.builders import Sock, table_of

PID = 7


def listed(at: float, *inodes: int, started: float = 1.0) -> tuple[DescriptorUse, ...]:
    listing = Listing(at, {}, np.array(inodes, np.uint32))
    return (DescriptorUse(Process(PID, "x", started=started), listing=listing),)


def dump(*inodes: int) -> SocketTable:
    return table_of([Sock(inode=inode) for inode in inodes])


def test_are_in_two_listings_and_not_in_the_dump_between_them() -> None:
    first = ClosedSockets().seen(listed(0.0, 1, 2, 3), dump(3), 5.0)
    assert list(first.suspects) == [PID]
    assert first.counts == {PID: 0}
    second = first.seen(listed(6.0, 1, 2, 3, 4), dump(3, 4), 10.0)
    assert second.counts == {PID: 2}


def test_are_not_those_of_a_listing_that_is_older_than_the_dump() -> None:
    """A process that replaces all its sockets between the listing and the dump."""
    first = ClosedSockets().seen(listed(0.0, 1, 2, 3), dump(4, 5, 6), 5.0)
    again = first.seen(listed(0.0, 1, 2, 3), dump(4, 5, 6), 10.0)
    assert again.counts == {PID: 0}
    assert again.seen(listed(11.0, 4, 5, 6), dump(4, 5, 6), 15.0).counts == {}


def test_are_not_those_of_another_process_of_the_same_pid() -> None:
    first = ClosedSockets().seen(listed(0.0, 1), dump(), 5.0)
    assert first.seen(listed(6.0, 1, started=2.0), dump(), 10.0).counts == {PID: 0}
