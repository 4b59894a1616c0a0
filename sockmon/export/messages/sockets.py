"""/api/v1/sockets: how many sockets have all that is asked for."""

from typing import TypedDict

from sockmon.export.messages.observation import OwnerSockets
from sockmon.model.direction import Direction
from sockmon.model.states import StateLabel


class PeerSockets(TypedDict):
    """The TCP sockets of one remote address, without listeners."""

    peer: str
    states: dict[StateLabel, int]


class GroupSockets(TypedDict):
    """The TCP sockets of one (direction, port)."""

    direction: Direction
    port: int
    states: dict[StateLabel, int]


class SocketsAnswer(TypedDict):
    """/api/v1/sockets?netns=NAME&direction=D&port=N&owner=NAME&peer=ADDRESS: some sockets.

    Those that have all that is asked for. Each list has the largest first, and is bounded.
    """

    netns: str
    taken_at: float
    one_in: int
    """Above 1: of so many sockets one was looked at, and all figures are estimates."""
    states: dict[StateLabel, int]
    ages: dict[StateLabel, list[int]]
    """By age, in the buckets of `age_bounds_seconds`; of states whose ages are known."""
    peers: list[PeerSockets]
    ports: list[GroupSockets]
    owners: list[OwnerSockets]
    """systemd units and containers, as far as they are known."""
