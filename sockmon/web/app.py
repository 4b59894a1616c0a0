"""What the daemon answers over HTTP: always from the last observation, never by a new poll."""

import gzip
from collections.abc import Callable, Iterator
from functools import partial

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.exposition import choose_encoder, gzip_accepted
from prometheus_client.openmetrics.exposition import ALLOWUTF8
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS_TYPE
from prometheus_client.openmetrics.exposition import generate_latest as as_openmetrics
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from sockmon.contained import COMPONENTS
from sockmon.export import alerts, json, metrics
from sockmon.export.family import SeriesMemory
from sockmon.export.messages.alerts import AlertsAnswer
from sockmon.web import assets
from sockmon.web.daemon_status import NO_POLL_YET, NO_SUCH_NAMESPACE, LatestObservation
from sockmon.web.events import EventsEndpoint
from sockmon.web.history import HistoryEndpoint
from sockmon.web.security.access import AccessControl
from sockmon.web.security.policy import NO_DEMANDS, Policy
from sockmon.web.sockets import SocketsEndpoint

_OPENMETRICS = "application/openmetrics-text"

#: However often it is scraped, the same observation is rendered again only after this long.
_RENDERED_FOR_SECONDS = 1.0


def create_app(
    latest: LatestObservation, policy: Callable[[], Policy] = lambda: NO_DEMANDS
) -> Starlette:
    """Build the application around `latest`; `policy` returns what clients must do to be served."""
    app = Starlette(
        routes=[
            Route("/", assets.page),
            Route("/assets/{name}", assets.asset),
            Route("/metrics", _MetricsEndpoint(latest), methods=["GET"]),
            Route("/-/healthy", _health(latest.why_unhealthy, "healthy")),
            Route("/-/ready", _health(latest.why_not_ready, "ready")),
            Route("/api/v1/observation", _observation(latest)),
            Route("/api/v1/alerts", _alerts(latest)),
            Route("/api/v1/events", EventsEndpoint(latest), methods=["GET"]),
            Route("/api/v1/history", HistoryEndpoint(latest).answer),
            Route("/api/v1/sockets", SocketsEndpoint(latest).answer),
            Route("/runbooks/", assets.runbook),
            Route("/runbooks/{name}", assets.runbook),
        ],
        middleware=[Middleware(AccessControl, policy=policy, clock=latest.clock)],
    )
    app.router.redirect_slashes = False  # a redirect would repeat any Host that a client sends
    return app


class _LatestCollector(Collector):
    def __init__(
        self, latest: LatestObservation, memory: SeriesMemory, *, tells_starts: bool
    ) -> None:
        self._latest = latest
        self._memory = memory
        self._started = latest.started_wall if tells_starts else None

    def collect(self) -> Iterator[Metric]:
        latest = self._latest
        yield from metrics.families(
            latest.observation,
            latest.clock(),
            latest.build,
            latest.reload,
            self._memory,
            self._started,
            COMPONENTS.counts,
        )
        yield from alerts.families(latest.alerting, self._started)


class _MetricsEndpoint:
    """/metrics in text or OpenMetrics, compressed or not, rendered at most once a second each."""

    def __init__(self, latest: LatestObservation) -> None:
        self._latest = latest
        memory = SeriesMemory()
        # Only OpenMetrics has a place for start timestamps: elsewhere they would be gauges.
        self._text = _registry(_LatestCollector(latest, memory, tells_starts=False))
        self._openmetrics = _registry(_LatestCollector(latest, memory, tells_starts=True))
        self._rendered: dict[tuple[str, bool], tuple[object, float, bytes]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        # The library would put any version that the client names into the content type. With only
        # two values passed on, there are at most four renderings.
        accept = request.headers.get("accept", "")
        if _OPENMETRICS in accept:
            # No name of ours needs escaping; the library's default looks at each character of each.
            encode = partial(as_openmetrics, self._openmetrics, escaping=ALLOWUTF8)
            content_type = OPENMETRICS_TYPE
        else:
            as_text, content_type = choose_encoder("")
            encode = partial(as_text, self._text)
        zipped = gzip_accepted(request.headers.get("accept-encoding", ""))
        body = self._render(encode, content_type, zipped=zipped)
        headers = {"content-type": content_type, "vary": "Accept, Accept-Encoding"}
        if zipped:
            headers["content-encoding"] = "gzip"
        await Response(body, headers=headers)(scope, receive, send)

    def _render(self, encode: Callable[[], bytes], content_type: str, *, zipped: bool) -> bytes:
        key, now = (content_type, zipped), self._latest.clock()
        of, at, body = self._rendered.get(key, (None, 0.0, b""))
        if not body or of is not self._latest.observation or now - at > _RENDERED_FOR_SECONDS:
            body = encode()
            if zipped:
                body = gzip.compress(body, compresslevel=4)
            self._rendered[key] = (self._latest.observation, now, body)
        return body


def _registry(collector: Collector) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    ProcessCollector(registry=registry)
    return registry


def _health(why_not: Callable[[], str | None], word: str) -> Callable[[Request], Response]:
    async def endpoint(_: Request) -> Response:
        reason = why_not()
        if reason is None:
            return PlainTextResponse(f"sockmon is {word}\n")
        return PlainTextResponse(f"sockmon is not {word}: {reason}\n", status_code=503)

    return endpoint  # type: ignore[return-value]


def _observation(latest: LatestObservation) -> Callable[[Request], Response]:
    async def endpoint(request: Request) -> Response:
        if not request.query_params.keys() <= {"netns"}:
            return JSONResponse({"error": "unknown parameter: expected netns"}, status_code=400)
        if latest.observation is None:
            return JSONResponse({"error": NO_POLL_YET}, status_code=503)
        netns = request.query_params.get("netns")
        rendered = json.observation(latest.observation, netns)
        if not rendered["namespaces"]:
            return JSONResponse({"error": NO_SUCH_NAMESPACE}, status_code=404)
        return JSONResponse(rendered)

    return endpoint  # type: ignore[return-value]


def _alerts(latest: LatestObservation) -> Callable[[Request], Response]:
    async def endpoint(_: Request) -> Response:
        return JSONResponse(AlertsAnswer(alerts=json.alerts(latest.alerting.alerts)))

    return endpoint  # type: ignore[return-value]
