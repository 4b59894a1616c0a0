"""The configuration that a command goes by: the one that is named, this host's own, or none."""

from dataclasses import dataclass
from pathlib import Path

from sockmon.config.load import ConfigError
from sockmon.settings import Config, load


@dataclass(frozen=True, slots=True)
class Chosen:
    """A configuration; `file` is None for the built-in defaults, `note` says why not the host's."""

    config: Config
    file: Path | None = None
    note: str | None = None


def choose(named: Path | None, host_file: Path) -> Chosen:
    """Return what to go by; raises ConfigError of the file that is named, and of no other."""
    if named is not None:
        return Chosen(load(named), named)
    if not _may_be_there(host_file):
        return Chosen(Config())
    try:
        return Chosen(load(host_file), host_file)
    except ConfigError as error:
        return Chosen(Config(), note=f"{error.problems[0]}; going by the built-in defaults instead")


def _may_be_there(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # reading it will say why
    return True
