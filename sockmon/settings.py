"""The configuration: YAML into frozen values, every mistake reported at once with its path.

Plain dataclasses hold the values, so that a command which needs only defaults does not load the
validation library.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le

from sockmon.alert.settings import Alerting
from sockmon.config.fields import AbsolutePath, ListenAddress, ListenAddresses, Port
from sockmon.config.load import ConfigError
from sockmon.detect.registry import Detect
from sockmon.durations import DurationField

Seconds = Annotated[float, DurationField()]

_STRICT: dict[str, object] = {"extra": "forbid", "strict": True}


@dataclass(frozen=True, slots=True)
class Poll:
    """How often and where, and how much CPU it may use."""

    __pydantic_config__: ClassVar = _STRICT

    interval: Annotated[Seconds, Ge(0.1), Le(3600)] = 5.0
    namespaces: Literal["host", "all"] = "host"
    netns_helper_socket: AbsolutePath | None = None
    cpu_budget: Annotated[float, Gt(0), Le(1)] = 0.05
    top_namespaces: Annotated[int, Ge(0), Le(10_000)] = 100


@dataclass(frozen=True, slots=True)
class Web:
    """Where the page, the API and metrics are served: on all of these addresses."""

    __pydantic_config__: ClassVar = _STRICT

    listen_address: ListenAddresses = (ListenAddress("127.0.0.1", 10776),)


@dataclass(frozen=True, slots=True)
class Ports:
    """Which (direction, port) groups have their own series."""

    __pydantic_config__: ClassVar = _STRICT

    top: Annotated[int, Ge(0), Le(10_000)] = 50
    always_shown: tuple[Port, ...] = ()
    top_per_namespace: Annotated[int, Ge(0), Le(10_000)] = 10


@dataclass(frozen=True, slots=True)
class Events:
    """Whether connections are counted as they open and close, and how many ports of a namespace."""

    __pydantic_config__: ClassVar = _STRICT

    enabled: bool = False
    helper_socket: AbsolutePath = "/run/sockmon-events/socket"
    top: Annotated[int, Ge(0), Le(1000)] = 10


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that can be configured, with its default."""

    __pydantic_config__: ClassVar = _STRICT

    poll: Poll = field(default_factory=Poll)
    web: Web = field(default_factory=Web)
    ports: Ports = field(default_factory=Ports)
    events: Events = field(default_factory=Events)
    detect: Detect = field(default_factory=Detect)  # type: ignore[valid-type]
    alerting: Alerting = field(default_factory=Alerting)
    state_dir: AbsolutePath | None = None


def load(path: Path) -> Config:
    """Read a configuration file; raises ConfigError with every mistake in it."""
    from sockmon.config import load  # noqa: PLC0415 - see the module's docstring

    try:
        data = load.read_bytes(path)
    except (OSError, ValueError) as error:
        reason = load.why_unreadable(error)
        raise ConfigError([f"{path}: cannot read it: {reason}"]) from error
    return parse(data, str(path))


def parse(data: bytes, name: str) -> Config:
    """Parse a configuration's bytes; messages call it `name`. Raises ConfigError."""
    from sockmon.config import load  # noqa: PLC0415 - see the module's docstring

    config, problems = load.parse(Config, data)
    if problems:
        raise ConfigError(load.report(problems, name))
    return config
