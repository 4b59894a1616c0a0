"""Chromium inside a namespace of the laboratory, where the daemon's loopback is."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, ViewportSize, sync_playwright

from tests.lab import NetNs
from tests.running import PORT

ORIGIN = f"http://127.0.0.1:{PORT}"

WIDE: ViewportSize = {"width": 1440, "height": 900}
TABLET: ViewportSize = {"width": 1024, "height": 768}
PHONE: ViewportSize = {"width": 390, "height": 740}

#: It calls nobody by itself; the namespace would not let it anyway.
QUIET = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
)


@contextmanager
def chromium(netns: NetNs, directory: Path) -> Iterator[Browser]:
    """Run it until the context is left; it ends too if whoever started it is killed."""
    wrapper = directory / "chromium-in-namespace"
    wrapper.write_text(f'#!/bin/sh\nexec nsenter --net={netns.path} chromium "$@"\n')
    wrapper.chmod(0o755)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=wrapper, args=QUIET)
        try:
            yield browser
        finally:
            browser.close()
