"""All cases, by what they are about."""

from tests.cases.case import CASES
from tests.cases.stories import (
    at_rest,
    busy,
    callers,
    forgotten,
    harmless,
    holders,
    leaks,
    outages,
    own_limits,
    paths,
    ports,
    programs,
    queues,
    servers,
    vanished,
    ways,
)

__all__ = [
    "CASES",
    "at_rest",
    "busy",
    "callers",
    "forgotten",
    "harmless",
    "holders",
    "leaks",
    "outages",
    "own_limits",
    "paths",
    "ports",
    "programs",
    "queues",
    "servers",
    "vanished",
    "ways",
]
