"""One namespace's sockets, or some of them, by peer, port and owner, for /api/v1/sockets."""

from sockmon.export.messages import sockets as messages
from sockmon.model.direction import Direction
from sockmon.model.moment import Timed
from sockmon.model.socket_sample import Rows, SocketSample
from sockmon.model.states import StateLabel
from sockmon.model.table import IPAddress
from sockmon.text import one_line

#: Peers, ports and owners that are listed.
LISTED = 50


def sockets(
    netns: str,
    sample: Timed[SocketSample],
    direction: Direction | None = None,
    port: int | None = None,
    owner: str | None = None,
    peer: IPAddress | None = None,
) -> messages.SocketsAnswer:
    """Render the sockets that have all that is asked for."""
    its = sample.value
    rows = its.rows(direction, port, owner, peer)
    return {
        "netns": netns,
        "taken_at": sample.at.wall,
        "one_in": its.one_in,
        "states": _states(its, rows),
        "ages": {state.label: list(ages) for state, ages in its.ages(rows).items()},
        "peers": [
            {"peer": str(address), "states": _states(its, part)}
            for address, part in its.by_peer(rows, LISTED)
        ],
        "ports": [
            {"direction": direction, "port": port, "states": _states(its, part)}
            for direction, port, part in its.by_port(rows, LISTED)
        ],
        "owners": [
            {"owner": one_line(name), "states": _states(its, part)}
            for name, part in its.by_owner(rows, LISTED)
        ],
    }


def _states(sample: SocketSample, rows: Rows) -> dict[StateLabel, int]:
    return {state.label: n for state, n in sample.states(rows).items()}
