"""Packets of this host as they come: how long, and when to stop. Not pure: it has a clock."""

import time
from collections.abc import Callable, Iterator

from sockmon.kernel.packets.headers import Packets
from sockmon.kernel.packets.ring import PacketRing

#: Seconds between two looks at connections that wait.
_TICK = 0.2
#: Seconds between two batches of packets: few large ones cost less. The ring holds more than comes
#: in that time.
_PAUSE = 0.1


def watched(
    ring: PacketRing, seconds: float | None, stop: Callable[[], bool]
) -> Iterator[tuple[Packets | None, int]]:
    """Return packets as they come, and what time it is, at least five times a second.

    seconds: how long; None: until stop() is true. Then those are returned that had come by then.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    is_last = False
    while True:
        packets = ring.wait(_TICK)
        try:
            yield packets, time.time_ns()
        finally:
            if packets is not None:
                ring.release()
                time.sleep(_PAUSE)
        if is_last:
            return
        is_last = stop() or (deadline is not None and time.monotonic() >= deadline)
