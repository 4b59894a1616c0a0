"""Errors of reading the kernel: what was asked, why it failed, what to do."""

import errno as errno_numbers
import os
from typing import Self

#: The kernel, or a sandbox around it, has no sock_diag or does not let this process use it.
_REFUSED = frozenset(
    {"EACCES", "EAFNOSUPPORT", "ENOENT", "ENOPROTOOPT", "ENOSYS", "EOPNOTSUPP", "EPERM"}
    | {"EPROTONOSUPPORT", "ESOCKTNOSUPPORT"}
)
_FALLBACK = "/proc/net is read instead, so sockets are counted, but not diagnosed"
_UDP_FALLBACK = "UDP sockets are counted from /proc/net; dropped datagrams are not known"


class KernelError(Exception):
    """One request to the kernel failed.

    `operation` says what was asked, `reason` is a short word from a bounded set (an errno's
    name such as EBUSY, or truncated, malformed, incomplete, ...) that is fit for a metric label,
    `detail` says more, and `hint` what to do about it.
    """

    def __init__(self, operation: str, reason: str, detail: str = "", hint: str = "") -> None:
        self.operation = operation
        self.reason = reason
        self.detail = detail
        self.hint = hint
        text = f"{operation}: {detail or reason}"
        super().__init__(f"{text}; {hint}" if hint else text)

    @classmethod
    def from_errno(cls, operation: str, number: int, hint: str = "") -> Self:
        """Name the errno as the kernel does: ENOENT (No such file or directory)."""
        name = errno_numbers.errorcode.get(number, "errno")
        return cls(operation, name, f"{name} ({os.strerror(number)})", hint)


class DumpError(KernelError):
    """A sock_diag dump failed, or its reply cannot be trusted: none of it is used."""

    @property
    def is_refused(self) -> bool:
        """Whether asking again will not help."""
        return self.reason in _REFUSED


class FallbackError(KernelError):
    """sock_diag is refused, and something less was read instead."""

    @classmethod
    def of(cls, refused: DumpError) -> Self:
        """Say what was refused, and what follows from it."""
        return cls(refused.operation, refused.reason, refused.detail, _FALLBACK)


class UdpFallbackError(FallbackError):
    """The same of UDP only, as where the module udp_diag is missing: TCP lacks nothing."""

    @classmethod
    def of(cls, refused: DumpError) -> Self:
        """Say what was refused, and what follows from it."""
        return cls(refused.operation, refused.reason, refused.detail, _UDP_FALLBACK)


class ProcError(KernelError):
    """A file under /proc could not be read, or has unexpected content."""


class HiddenSettingsError(ProcError):
    """This /proc shows no settings of the kernel, and never will: no failure, but worth a word."""

    @classmethod
    def of(cls, operation: str) -> Self:
        """Say why that may be, and what follows from it."""
        hint = "this /proc shows no settings (ProcSubset=pid, a sandbox): limits are not judged"
        return cls.from_errno(operation, errno_numbers.ENOENT, hint)


class NamespaceError(KernelError):
    """A network namespace could not be entered, or looked into from outside.

    The reason "gone" means that it no longer exists where it was found.
    """


class HelperError(KernelError):
    """The privileged helper that enters other namespaces did not answer as it should.

    The reason "gone" means that it failed earlier in the same poll, and was not asked again.
    """
