"""None is rendered as None."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
Rendered = TypeVar("Rendered")


def optional(value: T | None, render: Callable[[T], Rendered]) -> Rendered | None:
    """Return the rendered value, or None for None."""
    return None if value is None else render(value)
