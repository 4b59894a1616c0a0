"""All cases, by what they are about."""

from tests.cases.case import CASES
from tests.cases.stories import (
    busy,
    harmless,
    holders,
    leaks,
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
    "busy",
    "harmless",
    "holders",
    "leaks",
    "paths",
    "ports",
    "programs",
    "queues",
    "servers",
    "vanished",
    "ways",
]
