"""What the daemon answers over HTTP: always from the last observation, never by asking anew."""

import gzip
import html
import ipaddress
import re
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.exposition import choose_encoder, gzip_accepted
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sockmon.alert.records import shown
from sockmon.export import alerts, json, metrics
from sockmon.ui.web.board import Board

_OPENMETRICS = "application/openmetrics-text"

#: However often it is scraped, the same observation is rendered anew only after this long.
_RENDERED_FOR_SECONDS = 1.0

_LANDING = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>sockmon</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:40em;margin:3em auto;padding:0 1em}}
@media(prefers-color-scheme:dark){{body{{background:#111;color:#ddd}}a{{color:#8bf}}}}</style>
<h1>sockmon {version}</h1><p>{verdict}</p>
<ul><li><a href="/metrics">/metrics</a>: for Prometheus
<li><a href="/api/v1/observation">/api/v1/observation</a>: the last poll, whole (loopback only)
<li><a href="/api/v1/alerts">/api/v1/alerts</a>: alerts with their state (loopback only)
<li><a href="/-/healthy">/-/healthy</a>, <a href="/-/ready">/-/ready</a></ul></html>
"""


def create_app(board: Board) -> Starlette:
    """Build the application around the board."""
    app = Starlette(
        routes=[
            Route("/", _landing_page(board)),
            Route("/metrics", _MetricsEndpoint(board), methods=["GET"]),
            Route("/-/healthy", _health(board.why_unhealthy, "healthy")),
            Route("/-/ready", _health(board.why_not_ready, "ready")),
            Route("/api/v1/observation", _observation(board)),
            Route("/api/v1/alerts", _alerts(board)),
        ],
        middleware=[Middleware(_LoopbackOnly, prefix="/api/")],
    )
    app.router.redirect_slashes = False  # it would repeat whatever Host the client sent
    return app


class _BoardCollector(Collector):
    def __init__(self, board: Board) -> None:
        self._board = board

    def collect(self) -> Iterator[Metric]:
        board = self._board
        yield from metrics.families(board.observation, board.clock(), board.build, board.reload)
        yield from alerts.families(board.alerting)


class _MetricsEndpoint:
    """/metrics in text or OpenMetrics, compressed or not, rendered at most once a second each."""

    def __init__(self, board: Board) -> None:
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


def _observation(board: Board) -> Callable[[Request], Response]:
    async def endpoint(_: Request) -> Response:
        if board.observation is None:
            return JSONResponse({"error": "no poll has ended yet"}, status_code=503)
        return JSONResponse(json.observation(board.observation))

    return endpoint  # type: ignore[return-value]


def _alerts(board: Board) -> Callable[[Request], Response]:
    async def endpoint(_: Request) -> Response:
        return JSONResponse({"alerts": shown(board.alerting.alerts)})

    return endpoint  # type: ignore[return-value]


def _landing_page(board: Board) -> Callable[[Request], Response]:
    async def endpoint(_: Request) -> Response:
        reason = board.why_not_ready()
        verdict = "Polling." if reason is None else f"Not ready: {html.escape(reason)}."
        return HTMLResponse(_LANDING.format(version=board.build.version, verdict=verdict))

    return endpoint  # type: ignore[return-value]


class _LoopbackOnly:
    """Refuses paths that show peers and processes to clients on other hosts."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] == "http"
            and scope["path"].startswith(self._prefix)
            and not (_is_loopback(scope.get("client")) and _is_local_name(scope["headers"]))
        ):
            refusal = PlainTextResponse("answered to loopback clients only\n", status_code=403)
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _is_local_name(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether the host asked for is localhost or an address.

    A page from elsewhere whose name was made to point here (DNS rebinding) asks for its name.
    """
    host = next((value for name, value in headers if name == b"host"), b"").decode("latin-1")
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return name in ("", "localhost")
    return True


def _is_loopback(client: tuple[str, int] | None) -> bool:
    if client is None:
        return False
    address = ipaddress.ip_address(client[0].partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_loopback
