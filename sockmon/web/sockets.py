"""/api/v1/sockets: rendered in a thread; what was asked last is kept until the next poll."""

import ipaddress
import json
import re
from dataclasses import dataclass

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sockmon.export.sockets import sockets
from sockmon.model.direction import DIRECTIONS, Direction
from sockmon.model.limits import PORTS
from sockmon.model.names import HOST
from sockmon.model.table import IPAddress
from sockmon.web.daemon_status import NO_POLL_YET, NO_SUCH_NAMESPACE, LatestObservation
from sockmon.web.kept_answers import KeptAnswers

_PARAMETERS = ("netns", "direction", "port", "owner", "peer")
_DIGITS = re.compile("[0-9]{1,5}")
#: Different answers that are kept until the next poll.
_ANSWERS_KEPT = 16


@dataclass(frozen=True, slots=True)
class _Asked:
    netns: str
    direction: Direction | None
    port: int | None
    owner: str | None
    peer: IPAddress | None


class SocketsEndpoint:
    """Takes `netns`, and optionally `direction`, `port`, `owner` and `peer`."""

    def __init__(self, latest: LatestObservation) -> None:
        self._latest = latest
        self._kept = KeptAnswers(latest, self._render, _ANSWERS_KEPT)

    async def answer(self, request: Request) -> Response:
        """Answer one request."""
        try:
            asked = _asked(request.query_params)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        if self._latest.observation is None:
            return JSONResponse({"error": NO_POLL_YET}, status_code=503)
        body = await self._kept.answer(asked)
        if body is None:
            return JSONResponse({"error": NO_SUCH_NAMESPACE}, status_code=404)
        return Response(body, media_type="application/json")

    def _render(self, asked: _Asked) -> bytes | None:
        observation = self._latest.observation
        for one in observation.namespaces if observation else ():
            if one.name == asked.netns and one.sample is not None:
                answer = sockets(
                    asked.netns, one.sample, asked.direction, asked.port, asked.owner, asked.peer
                )
                return json.dumps(answer, separators=(",", ":")).encode()
        return None


def _asked(parameters: QueryParams) -> _Asked:
    """Read the parameters; raises ValueError with one clear line."""
    if not parameters.keys() <= set(_PARAMETERS):
        raise ValueError(f"unknown parameter: expected {', '.join(_PARAMETERS)}")
    direction = next((each for each in DIRECTIONS if each == parameters.get("direction")), None)
    if direction is None and "direction" in parameters:
        raise ValueError(f"direction: expected {' or '.join(DIRECTIONS)}")
    port = parameters.get("port")
    if port is not None and not (_DIGITS.fullmatch(port) and int(port) < PORTS):
        raise ValueError(f"port: expected a number from 0 to {PORTS - 1}")
    peer = parameters.get("peer")
    try:
        address = None if peer is None else ipaddress.ip_address(peer)
    except ValueError:
        raise ValueError("peer: expected an IP address") from None
    return _Asked(
        parameters.get("netns", HOST),
        direction,
        None if port is None else int(port),
        parameters.get("owner"),
        address,
    )
