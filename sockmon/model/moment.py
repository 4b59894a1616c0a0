"""An instant on both clocks, and values that were true at one."""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant on two clocks, in seconds: `monotonic` to reckon with, `wall` (Unix) to show."""

    monotonic: float
    wall: float


@dataclass(frozen=True, slots=True)
class Timed(Generic[T]):
    """A part and the moment at which it was true."""

    value: T
    at: Moment
