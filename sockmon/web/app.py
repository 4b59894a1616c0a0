"""What the daemon answers over HTTP: always from the last observation, never by asking anew."""

import gzip
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.exposition import choose_encoder, gzip_accepted
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from sockmon.export import alerts, json, messages, metrics
from sockmon.web import assets
from sockmon.web.daemon_status import LatestObservation
from sockmon.web.events import EventsEndpoint
from sockmon.web.history import HistoryEndpoint
from sockmon.web.security.access import Guard
from sockmon.web.security.policy import NO_DEMANDS, Policy

_OPENMETRICS = "application/openmetrics-text"

#: However often it is scraped, the same observation is rendered anew only after this long.
_RENDERED_FOR_SECONDS = 1.0


def create_app(
    board: LatestObservation, policy: Callable[[], Policy] = lambda: NO_DEMANDS
) -> Starlette:
    """Build the application around the board; `policy` tells what is demanded of clients."""
    app = Starlette(
        routes=[
            Route("/", assets.page),
            Route("/assets/{name}", assets.asset),
            Route("/metrics", _MetricsEndpoint(board), methods=["GET"]),
            Route("/-/healthy", _health(board.why_unhealthy, "healthy")),
            Route("/-/ready", _health(board.why_not_ready, "ready")),
            Route("/api/v1/observation", _observation(board)),
            Route("/api/v1/alerts", _alerts(board)),
            Route("/api/v1/events", EventsEndpoint(board), methods=["GET"]),
            Route("/api/v1/history", HistoryEndpoint(board).answer),
        ],
        middleware=[Middleware(Guard, policy=policy, clock=board.clock)],
    )
    app.router.redirect_slashes = False  # it would repeat whatever Host the client sent
    return app


class _BoardCollector(Collector):
    def __init__(self, board: LatestObservation) -> None:
        self._board = board

    def collect(self) -> Iterator[Metric]:
        board = self._board
        yield from metrics.families(board.observation, board.clock(), board.build, board.reload)
        yield from alerts.families(board.alerting)


class _MetricsEndpoint:
    """/metrics in text or OpenMetrics, compressed or not, rendered at most once a second each."""

    def __init__(self, board: LatestObservation) -> None:
        self._board = board
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_BoardCollector(board))
        ProcessCollector(registry=self._registry)
        self._rendered: dict[tuple[str, bool], tuple[object, float, bytes]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        # The library repeats the client's own version: asked only for what it can be, so that
        # there are four renderings and no more.
        accept = request.headers.get("accept", "")
        encode, content_type = choose_encoder(_OPENMETRICS if _OPENMETRICS in accept else "")
        zipped = gzip_accepted(request.headers.get("accept-encoding", ""))
        body = self._render(encode, content_type, zipped=zipped)
        headers = {"content-type": content_type, "vary": "Accept, Accept-Encoding"}
        if zipped:
            headers["content-encoding"] = "gzip"
        await Response(body, headers=headers)(scope, receive, send)

    def _render(
        self, encode: Callable[[Collector], bytes], content_type: str, *, zipped: bool
    ) -> bytes:
        key, now = (content_type, zipped), self._board.clock()
        of, at, body = self._rendered.get(key, (None, 0.0, b""))
        if not body or of is not self._board.observation or now - at > _RENDERED_FOR_SECONDS:
            body = encode(self._registry)
            if zipped:
                body = gzip.compress(body, compresslevel=4)
            self._rendered[key] = (self._board.observation, now, body)
        return body


def _health(why_not: Callable[[], str | None], word: str) -> Callable[[Request], Response]:
    async def endpoint(_: Request) -> Response:
        reason = why_not()
        if reason is None:
            return PlainTextResponse(f"sockmon is {word}\n")
        return PlainTextResponse(f"sockmon is not {word}: {reason}\n", status_code=503)

    return endpoint  # type: ignore[return-value]


def _observation(board: LatestObservation) -> Callable[[Request], Response]:
    async def endpoint(request: Request) -> Response:
        if not request.query_params.keys() <= {"netns"}:
            return JSONResponse({"error": "unknown parameter: expected netns"}, status_code=400)
        if board.observation is None:
            return JSONResponse({"error": "no poll has ended yet"}, status_code=503)
        netns = request.query_params.get("netns")
        told = json.observation(board.observation, netns)
        if not told["namespaces"]:
            return JSONResponse({"error": "netns: there is none of this name"}, status_code=404)
        return JSONResponse(told)

    return endpoint  # type: ignore[return-value]


def _alerts(board: LatestObservation) -> Callable[[Request], Response]:
    async def endpoint(_: Request) -> Response:
        return JSONResponse(messages.AlertsAnswer(alerts=json.alerts(board.alerting.alerts)))

    return endpoint  # type: ignore[return-value]
