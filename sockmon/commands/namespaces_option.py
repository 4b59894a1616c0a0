"""--namespaces: where a command looks, whatever the configuration says."""

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from sockmon.settings import Config


def add_namespaces(parser: argparse.ArgumentParser, default: str) -> None:
    """Add --namespaces; `default` says what holds without it."""
    parser.add_argument(
        "--namespaces",
        choices=("host", "all"),
        help=f"look into all network namespaces, or into the host's own alone (default: {default})",
    )


def in_namespaces(config: "Config", chosen: Literal["host", "all"] | None) -> "Config":
    """Return the configuration with poll.namespaces as it was chosen, if it was."""
    if chosen is None:
        return config
    return replace(config, poll=replace(config.poll, namespaces=chosen))
