"""How many file descriptors processes use, of how many, and how fast that grows."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sockmon.model.growth import growing
from sockmon.model.owner import Process

Samples = tuple[tuple[float, float], ...]

#: Fewer sockets that the kernel has closed, on the whole host, are not looked for.
LEAST_CLOSED = 10
#: The kind of descriptors through which a process enters other network namespaces.
NAMESPACES = "network namespaces"

#: Growth is reported only after it was watched for so long, in so many polls.
_LEAST_SECONDS = 20.0
_LEAST_SAMPLES = 4


@dataclass(frozen=True, slots=True)
class Listing:
    """What a process's descriptors lead to.

    at: monotonic seconds after which it was made. kinds: descriptors by what they are. tcp: inodes
    of its TCP sockets, sorted.
    """

    at: float
    kinds: Mapping[str, int]
    tcp: NDArray[np.uint32]


@dataclass(frozen=True, slots=True, eq=False)
class DescriptorUse:
    """One process that uses a fair share of its descriptors, or holds sockets worth a look.

    samples: (monotonic seconds, descriptors in use) of the last minutes. namespace: the network
    namespace that it is in, by the number of kernel/processes.py; None if that is hidden. listing:
    None if its descriptors were not listed, or may not be.
    """

    process: Process
    samples: Samples = ()
    namespace: int | None = None
    listing: Listing | None = None

    @property
    def judged_sockets(self) -> NDArray[np.uint32]:
        """Inodes of its TCP sockets, if all of them are of its own namespace.

        Who holds other namespaces open makes sockets in them, as a mesh's proxy of a node does.
        """
        if self.listing is None or self.listing.kinds.get(NAMESPACES):
            return np.empty(0, np.uint32)
        return self.listing.tcp


@dataclass(frozen=True, slots=True, eq=False)
class DescriptorUses:
    """What one walk over the processes found.

    closed: how many TCP sockets of the host are held and in no namespace's table, at most.
    """

    uses: tuple[DescriptorUse, ...] = ()
    closed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Descriptors:
    """One process as the detectors see it: `process` has its growth.

    closed: how many sockets it holds that the kernel has closed, as far as that is certain; leaked:
    of how many of them it is known that it had not closed them after their peers had.
    """

    process: Process
    kinds: Mapping[str, int] = field(default_factory=dict)
    tcp: NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))
    closed: int = 0
    leaked: int = 0

    @property
    def ratio(self) -> float:
        """The share of its limit that it uses; 0 if either is not known."""
        fds, limit = self.process.fds, self.process.fd_limit
        return fds / limit if fds is not None and limit else 0.0


def growth(samples: Samples, now: float, window: float) -> float | None:
    """Return how many more descriptors a second are used; 0 if fewer or as many, None: unknown."""
    if len(samples) < _LEAST_SAMPLES:
        return None
    return growing(samples, now, window, _LEAST_SECONDS)
