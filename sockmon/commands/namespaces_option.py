"""--namespaces: which network namespaces a command reads, whatever the configuration says."""

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from sockmon.settings import Config


def add_namespaces(parser: argparse.ArgumentParser, default: str) -> None:
    """Add --namespaces; `default` describes what happens without it."""
    parser.add_argument(
        "--namespaces",
        choices=("host", "all"),
        help=f"read all network namespaces, or only the host's own (default: {default})",
    )


def in_namespaces(config: "Config", chosen: Literal["host", "all"] | None) -> "Config":
    """Return the configuration, with poll.namespaces as chosen if it was."""
    if chosen is None:
        return config
    return replace(config, poll=replace(config.poll, namespaces=chosen))
