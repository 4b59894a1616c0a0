"""The page's files and the runbooks, as `make page` has built them, in memory.

Their names contain a hash of their content, so that a browser may keep them forever; the page
itself is requested each time, and answered with 304 when it has not changed.
"""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from prometheus_client.exposition import gzip_accepted
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from sockmon.web.language import wanted

_BUILT = Path(__file__).parent / "static"
_RUNBOOKS = _BUILT / "runbooks"
_PAGE = "index.html"
_RUNBOOK_STYLE = "runbook.css"

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, ready to be sent."""

    body: bytes
    zipped: bytes
    headers: Mapping[str, str]

    @classmethod
    def of(cls, path: Path) -> "Asset":
        """Read the file; raises OSError."""
        body = path.read_bytes()
        kept = path.suffix != ".html" and path.name != _RUNBOOK_STYLE
        caching = "public, max-age=31536000, immutable" if kept else "no-cache"
        headers = {
            "Content-Type": _TYPES[path.suffix],
            "Cache-Control": caching,
            # Weak: the same for both encodings.
            "ETag": f'W/"{hashlib.sha256(body).hexdigest()[:16]}"',
            "Vary": "Accept-Encoding",
        }
        return cls(body, gzip.compress(body, mtime=0), headers)

    def answer(self, request: Request) -> Response:
        """Answer with the file, or with 304 if the client has it already."""
        if self.headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=self.headers)
        if gzip_accepted(request.headers.get("accept-encoding", "")):
            return Response(self.zipped, headers={**self.headers, "Content-Encoding": "gzip"})
        return Response(self.body, headers=self.headers)


@cache
def assets() -> Mapping[str, Asset]:
    """Return the files by name, read once."""
    return {path.name: Asset.of(path) for path in _BUILT.iterdir() if path.suffix in _TYPES}


async def page(request: Request) -> Response:
    """Answer /."""
    return assets()[_PAGE].answer(request)


async def asset(request: Request) -> Response:
    """Answer /assets/{name}."""
    found = assets().get(request.path_params["name"])
    return found.answer(request) if found else PlainTextResponse("Not Found", status_code=404)


@cache
def runbooks() -> Mapping[str, Path]:
    """Return the files of the runbooks by name; those of other languages end in .LANGUAGE."""
    return {path.stem: path for path in _RUNBOOKS.glob("*.html")}


@cache
def _runbook(name: str) -> Asset:
    return Asset.of(runbooks()[name])


async def runbook(request: Request) -> Response:
    """Answer /runbooks/{name}: in the language that is asked for, if there is a translation."""
    name = request.path_params.get("name", "README")
    try:
        translated = f"{name}.{wanted(request)}"
    except ValueError as error:
        return PlainTextResponse(f"{error}\n", status_code=400)
    found = translated if translated in runbooks() else name
    if found not in runbooks():
        return PlainTextResponse("Not Found", status_code=404)
    answer = _runbook(found).answer(request)
    answer.headers["Vary"] = "Accept-Encoding, Accept-Language"
    return answer
