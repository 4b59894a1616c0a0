"""/api/v1/history: rendered in a thread, once for all identical requests between two polls."""

import gzip
import json
from dataclasses import dataclass
from typing import cast

from prometheus_client.exposition import gzip_accepted
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sockmon.export.history import history
from sockmon.history.sample import SLOTS
from sockmon.history.snapshot import SPANS, Range
from sockmon.web.daemon_status import NO_POLL_YET, NO_SUCH_NAMESPACE, LatestObservation
from sockmon.web.kept_answers import KeptAnswers

#: Different answers that are kept until the next poll: all pages ask for the same few.
_ANSWERS_KEPT = 4

_GROUPS = frozenset(map(str, range(SLOTS + 1)))
_ROWS = frozenset(map(str, range(1, 3601)))


@dataclass(frozen=True, slots=True)
class _Asked:
    netns: str
    span: Range
    groups: int
    rows: int | None
    zipped: bool


class HistoryEndpoint:
    """Takes `netns`, `range` (hour or day), `groups` (how many of the largest, or none), `rows`.

    export/history.py describes the answer.
    """

    def __init__(self, latest: LatestObservation) -> None:
        self._latest = latest
        self._kept = KeptAnswers(latest, self._render, _ANSWERS_KEPT)

    async def answer(self, request: Request) -> Response:
        """Answer one request."""
        zipped = gzip_accepted(request.headers.get("accept-encoding", ""))
        try:
            asked = _asked(request.query_params, zipped=zipped)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        if self._latest.observation is None:
            return JSONResponse({"error": NO_POLL_YET}, status_code=503)
        body = await self._kept.answer(asked)
        if body is None:
            return JSONResponse({"error": NO_SUCH_NAMESPACE}, status_code=404)
        headers = {"vary": "Accept-Encoding"} | ({"content-encoding": "gzip"} if zipped else {})
        return Response(body, media_type="application/json", headers=headers)

    def _render(self, asked: _Asked) -> bytes | None:
        past, observation = self._latest.past(), self._latest.observation
        there = {one.name for one in observation.namespaces} if observation else set()
        if past is None or asked.netns not in there | past.namespaces.keys():
            return None
        answer = history(past, asked.netns, asked.span, asked.groups, asked.rows)
        body = json.dumps(answer, separators=(",", ":")).encode()
        return gzip.compress(body, compresslevel=4) if asked.zipped else body


def _asked(parameters: QueryParams, *, zipped: bool) -> _Asked:
    """Read the parameters; raises ValueError with one clear line."""
    if not parameters.keys() <= {"netns", "range", "groups", "rows"}:
        raise ValueError("unknown parameter: expected netns, range, groups or rows")
    span, groups = parameters.get("range", "hour"), parameters.get("groups", "0")
    if span not in SPANS:
        raise ValueError(f"range: expected {' or '.join(SPANS)}")
    if groups not in _GROUPS:
        raise ValueError(f"groups: expected a number from 0 to {SLOTS}")
    rows = parameters.get("rows")
    if rows is not None and rows not in _ROWS:
        raise ValueError("rows: expected a number from 1 to 3600")
    netns, most = parameters.get("netns", "host"), None if rows is None else int(rows)
    return _Asked(netns, cast("Range", span), int(groups), most, zipped)
