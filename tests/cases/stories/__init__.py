"""All cases, by what they are about."""

from tests.cases.case import CASES
from tests.cases.stories import field, harmless, leaks, ports, programs, queues, vanished

__all__ = ["CASES", "field", "harmless", "leaks", "ports", "programs", "queues", "vanished"]
