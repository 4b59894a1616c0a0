"""What a poll could not read or judge, as the observation says it."""

from dataclasses import replace

from sockmon.kernel.errors import FallbackError, HiddenSettingsError, KernelError, UdpFallbackError
from sockmon.model.names import HOST
from sockmon.model.poll_statistics import Failure


def broken(netns: str, what: str, reason: str) -> Failure:
    """Return that a part of sockmon has failed, by a mistake of ours."""
    where = "" if netns == HOST else f" in netns {netns}"
    return Failure(netns, "bug", f"{what}{where}: {reason}: please report this bug of sockmon")


def failure(netns: str, error: KernelError) -> Failure:
    """Return what failed, with the namespace if it is not the daemon's own."""
    where = "" if netns == HOST else f" in netns {netns}"
    message = str(error).replace(error.operation, error.operation + where, 1)
    is_optional = isinstance(error, HiddenSettingsError)
    return Failure(netns, error.reason, message, is_optional=is_optional)


def optional_failure(netns: str, error: KernelError) -> Failure:
    """Return the failure to read what a kernel need not have."""
    missing = error.reason == "ENOENT" and not isinstance(error, FallbackError)
    missing |= isinstance(error, UdpFallbackError)
    return replace(failure(netns, error), is_optional=missing)
