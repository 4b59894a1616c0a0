"""The page's files: small, kept by browsers, the same bytes whoever builds them."""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.lab import NetNs
from tests.page.source import npm
from tests.running import RunningDaemon, running_daemon

BUILT = REPOSITORY / "sockmon/web/static"


@pytest.fixture(scope="module")
def daemon() -> Iterator[RunningDaemon]:
    with NetNs() as netns, running_daemon(netns) as running:
        yield running


def referred(html: bytes) -> list[str]:
    return re.findall(r'(?:src|href)="(/assets/[^"]+)"', html.decode())


@pytest.mark.root
def test_the_page_and_what_it_needs_are_small_and_kept(daemon: RunningDaemon) -> None:
    page = daemon.get("/", {"Accept-Encoding": "gzip"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"
    assert "script-src 'self'" in page.headers["content-security-policy"]
    total = len(page.body)
    needed = referred(gzip.decompress(page.body))
    assert len(needed) == 3
    plot = [f"/assets/{path.name}" for path in BUILT.glob("plot-*.js")]
    assert len(plot) == 1, "loaded after the verdict"
    for path in [*needed, *plot]:
        asset = daemon.get(path, {"Accept-Encoding": "gzip"})
        assert asset.status == 200
        assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert daemon.get(path).body == gzip.decompress(asset.body)
        total += len(asset.body)
    assert total < 70_000, "both languages and all of the page, compressed"


@pytest.mark.root
def test_what_a_browser_has_is_not_sent_again(daemon: RunningDaemon) -> None:
    for path in ("/", *referred(daemon.get("/").body)):
        tag = daemon.get(path).headers["etag"]
        again = daemon.get(path, {"If-None-Match": tag})
        assert (again.status, again.body) == (304, b"")
        assert daemon.get(path, {"If-None-Match": 'W/"another"'}).status == 200


@pytest.mark.root
def test_runbooks_are_served_under_the_same_policy(daemon: RunningDaemon) -> None:
    for path in ("/runbooks/", "/runbooks/SockmonDown?lang=zh"):
        runbook = daemon.get(path)
        assert (runbook.status, runbook.headers["content-type"]) == (
            200,
            "text/html; charset=utf-8",
        )
        assert "default-src 'none'" in runbook.headers["content-security-policy"]
    assert daemon.get("/assets/runbook.css").headers["cache-control"] == "no-cache"


@pytest.mark.root
def test_nothing_else_is_served(daemon: RunningDaemon) -> None:
    for path in (
        "/assets/nothing.js",
        "/assets/..%2fboard.py",
        "/assets/licences.txt",
        "/assets/",
        "/runbooks/x",
    ):
        assert daemon.get(path).status == 404, path


def test_the_licences_of_what_is_built_in_are_shipped() -> None:
    text = (BUILT / "licences.txt").read_text()
    assert text.count("Permission is hereby granted") == 2
    assert {"preact", "uplot"} <= set(text.split())


@pytest.mark.component("npm")
def test_the_build_is_reproducible_and_its_own_tests_pass(source: Path) -> None:
    npm(source, "run", "check")
    npm(source, "test")
    npm(source, "run", "build")
    assert contents(source.parent / "sockmon/web/static") == contents(BUILT), (
        "run `make page`, and commit what it built"
    )


def contents(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}
