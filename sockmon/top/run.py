"""`sockmon top`: what the command line asks for, put together."""

import socket
import sys
from collections.abc import Callable
from dataclasses import replace

from sockmon.kernel.netlink.source import KernelSource
from sockmon.language import Language
from sockmon.settings import Config
from sockmon.top.kernel_source import Kernel, Source

#: Where none is configured: often enough to see things move, seldom enough to cost little.
_INTERVAL_SECONDS = 2.0


class UnfitError(Exception):
    """Why there can be no view here, in one line."""


def of_kernel(
    open_source: Callable[[Callable[[], bool]], KernelSource],
    config: Config,
    interval: float | None,
    language: Language = "en",
) -> int:
    """Show this host's kernel; returns the exit status, raises UnfitError."""
    seconds = interval or _INTERVAL_SECONDS
    poll = replace(config.poll, interval=seconds)

    def source() -> Source:
        return Kernel(open_source, replace(config, poll=poll), socket.gethostname())

    return _show(source, seconds, language)


def of_daemon(url: str, interval: float | None, language: Language = "en") -> int:
    """Show what a daemon tells; returns the exit status, raises UnfitError."""
    from sockmon.top.daemon_source import Daemon  # noqa: PLC0415 - HTTP, for those who ask for it

    try:
        daemon = Daemon(url)
    except ValueError as error:
        raise UnfitError(f"--url: {error}") from error
    return _show(lambda: daemon, interval, language)


def _show(source: Callable[[], Source], interval: float | None, language: Language) -> int:
    if not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()):
        raise UnfitError(
            "top needs a terminal; for a script there are sockmon doctor and sockmon count"
        )
    try:
        from sockmon.top import app, plain, terminal  # noqa: PLC0415 - an extra, and heavy
    except ModuleNotFoundError as error:
        if error.name not in ("rich", "textual"):
            raise
        raise UnfitError(
            "top needs textual: pip install 'sockmon[terminal]' (in a checkout: "
            "pip install '.[terminal]')"
        ) from error
    here = terminal.find_out()
    if not here.moves:
        return plain.run(source(), interval)
    return app.run(source(), interval, here, language)
