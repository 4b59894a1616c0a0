"""The configuration: YAML into frozen values, every mistake reported at once with its path.

Plain dataclasses hold the values, so that a command which needs only defaults never pays for the
validation library.
"""

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le

from sockmon.alert.settings import AbsolutePath, Alerting
from sockmon.detect import Detect
from sockmon.durations import DurationField

Seconds = Annotated[float, DurationField()]
Port = Annotated[int, Ge(1), Le(65535)]

_STRICT: dict[str, object] = {"extra": "forbid", "strict": True}
_ADDRESS_AND_PORT = re.compile(r"(?:\[(?P<ipv6>[^][]+)\]|(?P<ipv4>[^][:]*)):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Poll:
    """How often, where, and what other namespaces' polls may cost."""

    __pydantic_config__: ClassVar = _STRICT

    interval: Annotated[Seconds, Ge(0.1), Le(3600)] = 5.0
    namespaces: Literal["host", "all"] = "host"
    helper: AbsolutePath | None = None
    budget: Annotated[float, Gt(0), Le(1)] = 0.05
    top_namespaces: Annotated[int, Ge(0), Le(10_000)] = 100


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


def _is_ip_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Web:
    """Where metrics are served."""

    __pydantic_config__: ClassVar = _STRICT

    listen_address: ListenAddress = ListenAddress("127.0.0.1", 10776)


@dataclass(frozen=True, slots=True)
class Ports:
    """Which (role, port) groups have series of their own."""

    __pydantic_config__: ClassVar = _STRICT

    top: Annotated[int, Ge(0), Le(10_000)] = 50
    always: tuple[Port, ...] = ()
    top_elsewhere: Annotated[int, Ge(0), Le(10_000)] = 10


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that can be configured, with its default."""

    __pydantic_config__: ClassVar = _STRICT

    poll: Poll = field(default_factory=Poll)
    web: Web = field(default_factory=Web)
    ports: Ports = field(default_factory=Ports)
    detect: Detect = field(default_factory=Detect)  # type: ignore[valid-type]
    alerting: Alerting = field(default_factory=Alerting)
    state_dir: AbsolutePath | None = None


class ConfigError(Exception):
    """A configuration that cannot be used; `problems` holds a line for each mistake."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


def load(path: Path) -> Config:
    """Read a configuration file; raises ConfigError with every mistake in it."""
    from sockmon import configfile  # noqa: PLC0415 - see the module's docstring

    try:
        data = configfile.read_bytes(path)
    except (OSError, ValueError) as error:
        reason = configfile.why_unreadable(error)
        raise ConfigError([f"{path}: cannot read it: {reason}"]) from error
    return parse(data, str(path))


def parse(data: bytes, name: str) -> Config:
    """Parse a configuration's bytes, known to its reader by `name`; raises ConfigError."""
    from sockmon import configfile  # noqa: PLC0415 - see the module's docstring

    config, problems = configfile.parse(Config, data)
    if problems:
        raise ConfigError(configfile.told(problems, name))
    return config
