"""Which configuration a command uses: the one that is named, this host's own, or the defaults."""

from dataclasses import dataclass
from pathlib import Path

from sockmon.config.load import ConfigError
from sockmon.settings import Config, load


@dataclass(frozen=True, slots=True)
class Chosen:
    """A configuration; `file` is None for the defaults, `note` says why the host's is not used."""

    config: Config
    file: Path | None = None
    note: str | None = None


def choose(named: Path | None, host_file: Path) -> Chosen:
    """Return what to use; raises ConfigError for the file that is named, never for the host's."""
    if named is not None:
        return Chosen(load(named), named)
    if not _may_exist(host_file):
        return Chosen(Config())
    try:
        return Chosen(load(host_file), host_file)
    except ConfigError as error:
        return Chosen(Config(), note=f"{error.problems[0]}; using the built-in defaults instead")


def _may_exist(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # reading it will say why
    return True
