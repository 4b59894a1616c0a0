"""What the web server requires of clients, read again when its file or certificates change."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sockmon.config import load
from sockmon.config.load import ConfigError
from sockmon.web.security import tls, web_config
from sockmon.web.security.tls import ServerTls
from sockmon.web.security.web_config import WebConfig

#: Differs between two states of a file; None while there is no such file.
_Signature = tuple[int, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """What is required now; another object when that changes."""

    config: WebConfig = field(default_factory=WebConfig)
    tls: ServerTls | None = None


#: Without a file, nothing is required.
NO_DEMANDS = Policy()


class PolicyFile:
    """The policy of a --web.config.file.

    A bad file or certificate never replaces a good one; nor does a file that requires less, since a
    file that is being written is incomplete for a moment.
    """

    def __init__(self, path: Path) -> None:
        """Read it; raises ConfigError."""
        self._path = path
        self._files: Sequence[Path] = ()
        self._seen = self._look()
        self.policy = self._load()

    def refresh(self) -> bool:
        """Read it again if it or a certificate has changed; returns whether it was read.

        Raises ConfigError, once for each change, and leaves the policy as it was.
        """
        seen = self._look()
        if seen == self._seen:
            return False
        self._seen = seen
        policy = self._load()
        removed = list(_removed(self.policy.config, policy.config))
        if removed:
            raise ConfigError(
                [f"{self._path}: {key} was removed; only a restart turns it off" for key in removed]
            )
        self.policy = policy
        return True

    def _look(self) -> tuple[_Signature, ...]:
        return tuple(_signature(path) for path in (self._path, *self._files))

    def _load(self) -> Policy:
        try:
            data = load.read_bytes(self._path)
        except (OSError, ValueError) as error:
            reason = load.why_unreadable(error)
            raise ConfigError([f"{self._path}: cannot read it: {reason}"]) from error
        config = web_config.parse(data, self._path)
        server = config.tls_server_config
        if server is None:
            self._files, self._seen = (), self._seen[:1]
            return Policy(config)
        # Taken before the files are read, so that a change in between is noticed.
        names = (server.cert_file, server.key_file, server.client_ca_file)
        self._files = tuple(Path(name) for name in names if name)
        self._seen = (self._seen[0], *(_signature(file) for file in self._files))
        return Policy(config, tls.load(server, str(self._path)))


def _removed(before: WebConfig, after: WebConfig) -> Iterator[str]:
    """Yield the requirements that `before` has and `after` has not."""
    if before.basic_auth_users and not after.basic_auth_users:
        yield "basic_auth_users"
    had, has = before.tls_server_config, after.tls_server_config
    if had is not None and has is None:
        yield "tls_server_config"
    elif had is not None and has is not None:
        if had.requires_clients and not has.requires_clients:
            yield f"client_auth_type {had.client_auth_type}"
        if had.client_allowed_sans and not has.client_allowed_sans:
            yield "client_allowed_sans"


def _signature(path: Path) -> _Signature:
    try:
        status = os.stat(path)  # noqa: PTH116 - follows links, as reading does
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
