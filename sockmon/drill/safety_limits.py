"""How much of a host a drill may use: a fifth of what is free, of all that can run out."""

import math
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sockmon.kernel import procfs
from sockmon.kernel.errors import ProcError

SHARE = 0.2

#: What the process that makes the sockets has open besides them.
OVERHEAD_DESCRIPTORS = 16

#: net.core.somaxconn by default before Linux 5.4; 4096 since then.
_LEAST_SOMAXCONN = 128


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that a host has a limited number of; `cost` names it in a scenario's costs."""

    cost: str
    name: str
    limit: int
    used: int = 0

    @property
    def allowed(self) -> int:
        """How many of them a drill may use."""
        return math.floor(SHARE * max(0, self.limit - self.used))


@dataclass(frozen=True, slots=True)
class Bound:
    """How many a drill may make at most, and which resource limits it."""

    most: int
    by: Resource
    each: int  # how much of the resource one of them needs

    def __str__(self) -> str:
        have = f"{self.by.limit} {self.by.name}"
        if self.by.used:
            have += f", {self.by.used} of them in use"
        needs = f"; each needs {self.each}" if self.each > 1 else ""
        return (
            f"at most {self.most}, since a drill uses at most {100 * SHARE:.0f} % of what is free "
            f"of {have}{needs}"
        )


def tightest(resources: tuple[Resource, ...], costs: Mapping[str, int]) -> Bound:
    """Return the resource that allows the fewest, given how much of each one of them needs."""
    return min(
        (
            Bound(max(0, found.allowed - _overhead(found)) // each, found, each)
            for found in resources
            if (each := costs.get(found.cost, 0))
        ),
        key=lambda bound: bound.most,
    )


def _overhead(found: Resource) -> int:
    return OVERHEAD_DESCRIPTORS if found.cost == "descriptors" else 0


def read_resources(proc: Path) -> tuple[Resource, ...]:
    """Read what this host and this process have; raises ProcError.

    Call it in the host's own namespace: others have no limit of orphans.
    """
    limits, errors = procfs.read_limits(proc)
    if errors:
        raise errors[0]
    assert limits.sockstat is not None
    assert limits.port_range is not None
    assert limits.settings is not None
    files, files_limit = read_files(proc)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    descriptors = files_limit if soft == resource.RLIM_INFINITY else soft
    places = limits.settings.somaxconn
    if places is None:  # not to be seen here
        places = _LEAST_SOMAXCONN
    usable = int(limits.port_range.choosable().sum())
    found = [
        Resource("descriptors", "file descriptors of a process (RLIMIT_NOFILE)", descriptors),
        Resource("descriptors", "open files (fs.file-max)", files_limit, files),
        Resource("ports", "ephemeral ports to one destination (ip_local_port_range)", usable),
        Resource("backlog", "places in an accept queue (somaxconn)", places),
    ]
    more = (
        ("buckets", "time-wait buckets (tcp_max_tw_buckets)",
         limits.time_wait_limit, limits.sockstat.time_wait),
        ("orphans", "orphans (tcp_max_orphans)", limits.orphan_limit, limits.sockstat.orphans),
        ("ports", "conntrack entries (nf_conntrack_max)",
         limits.conntrack_limit, limits.conntrack_entries),
    )  # fmt: skip
    found += [
        Resource(cost, name, limit, used or 0)
        for cost, name, limit, used in more
        if limit is not None and limit >= 0
    ]
    return tuple(found)


def read_files(proc: Path) -> tuple[int, int]:
    """Read the host's open files and their limit; raises ProcError."""
    path = proc / "sys/fs/file-nr"
    try:
        return parse_files(path.read_text())
    except OSError as error:
        raise ProcError.from_errno(f"read of {path}", error.errno or 0) from error


def parse_files(text: str) -> tuple[int, int]:
    """Parse `1021 0 2466177`: allocated, free, limit."""
    allocated, free, limit = map(int, text.split())
    return allocated - free, limit
