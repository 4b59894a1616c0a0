"""All cases, by what they are about."""

from tests.cases.case import CASES
from tests.cases.stories import harmless, leaks, ports, programs, queues, vanished, ways

__all__ = ["CASES", "harmless", "leaks", "ports", "programs", "queues", "vanished", "ways"]
