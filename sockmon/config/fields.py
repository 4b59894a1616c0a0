"""Types of configuration values, checked when YAML is read."""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Le

from sockmon.durations import DurationField

_STRICT: dict[str, object] = {"extra": "forbid", "strict": True}


@dataclass(frozen=True, slots=True)
class Checked:
    """Marks a field whose value `check` must accept; `check` raises ValueError."""

    check: Callable[[Any], None]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Check after the type (pydantic's protocol)."""
        from pydantic_core import core_schema  # noqa: PLC0415 - only a loaded file needs it

        def checked(value: Any) -> Any:
            self.check(value)
            return value

        return core_schema.no_info_after_validator_function(checked, handler(source))


def _is_path(text: str) -> None:
    if not text.startswith("/") or "\0" in text:
        raise ValueError("expected an absolute path")


Seconds = Annotated[float, DurationField()]


AbsolutePath = Annotated[str, Checked(_is_path)]


Port = Annotated[int, Ge(1), Le(65535)]


_ADDRESS_AND_PORT = re.compile(r"(?:\[(?P<ipv6>[^][]+)\]|(?P<ipv4>[^][:]*)):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """ADDRESS:PORT, an IPv6 address in brackets; an empty address means all."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: object) -> "ListenAddress":
        """Raise ValueError unless it is an IP address and a port."""
        if isinstance(text, ListenAddress):
            return text
        match = _ADDRESS_AND_PORT.fullmatch(text) if isinstance(text, str) else None
        host = (match["ipv6"] or match["ipv4"]) if match else "invalid"
        if match is None or int(match["port"]) > 65535 or (host and not _is_ip_address(host)):
            raise ValueError("expected ADDRESS:PORT such as 127.0.0.1:10776 or [::1]:10776")
        return cls(host, int(match["port"]))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Parse the text (pydantic's protocol)."""
        from pydantic_core import core_schema  # noqa: PLC0415 - only a loaded file needs it

        return core_schema.no_info_plain_validator_function(cls.parse)


class _OneOrMore:
    """Takes one address for a list of one, and refuses an empty list and repetitions."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Wrap before, check after (pydantic's protocol)."""
        from pydantic_core import core_schema  # noqa: PLC0415 - only a loaded file needs it

        return core_schema.no_info_after_validator_function(
            _different,
            core_schema.no_info_before_validator_function(_listed, handler(source)),
        )


def _listed(value: object) -> tuple[object, ...]:
    if isinstance(value, list):
        return tuple(value)
    return (ListenAddress.parse(value),)  # here, so that a mistake in it has the key's own path


def _different(addresses: tuple[ListenAddress, ...]) -> tuple[ListenAddress, ...]:
    if not addresses:
        raise ValueError("expected at least one address")
    if len(set(addresses)) < len(addresses):
        raise ValueError("the same address twice")
    return addresses


#: ADDRESS:PORT, or a list of them.
ListenAddresses = Annotated[tuple[ListenAddress, ...], _OneOrMore()]


def _is_ip_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
