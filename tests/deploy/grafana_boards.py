"""The dashboards' JSON, and what is in it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from grafana.generate import DIRECTORY

BOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text()) for path in sorted(DIRECTORY.glob("*.json"))
}


def panels(board: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The panels, those in closed rows as well."""
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


of_each_board = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)


def found(part: Any, key: str) -> Iterator[Any]:
    """Every value under this key, however deep."""
    if isinstance(part, dict):
        if key in part:
            yield part[key]
        for value in part.values():
            yield from found(value, key)
    elif isinstance(part, list):
        for value in part:
            yield from found(value, key)
