"""Which configuration a command goes by."""

from pathlib import Path

import pytest

from sockmon.commands.config_choice import Chosen, choose
from sockmon.config.load import ConfigError
from sockmon.settings import Config
from tests.unit.users import as_nobody

OTHER = "poll: {interval: 7s}\n"


@pytest.fixture
def host_file(tmp_path: Path) -> Path:
    path = tmp_path / "etc" / "sockmon.yaml"
    path.parent.mkdir()
    return path


def test_without_any_it_is_the_defaults(host_file: Path) -> None:
    assert choose(None, host_file) == Chosen(Config())
    host_file.parent.rmdir()
    host_file.parent.write_text("no directory")
    assert choose(None, host_file) == Chosen(Config())


def test_the_hosts_own_counts_unless_another_is_named(host_file: Path, tmp_path: Path) -> None:
    host_file.write_text(OTHER)
    chosen = choose(None, host_file)
    assert (chosen.config.poll.interval, chosen.file, chosen.note) == (7.0, host_file, None)
    named = tmp_path / "named.yaml"
    named.write_text("poll: {interval: 9s}\n")
    chosen = choose(named, host_file)
    assert (chosen.config.poll.interval, chosen.file) == (9.0, named)


def test_a_mistake_in_the_hosts_own_is_said_and_stops_nobody(host_file: Path) -> None:
    host_file.write_text("poll: {interval: soon}\n")
    chosen = choose(None, host_file)
    assert (chosen.config, chosen.file) == (Config(), None)
    assert chosen.note == (
        f"{host_file}:1: poll.interval: expected a duration such as 5s, 10m or 1h; "
        "using the built-in defaults instead"
    )


def test_a_mistake_in_one_that_is_named_is_the_users(host_file: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read it: No such file"):
        choose(host_file, host_file)


def test_one_that_may_not_be_read_is_said(host_file: Path) -> None:
    host_file.write_text(OTHER)
    host_file.chmod(0)
    with as_nobody():
        chosen = choose(None, host_file)
    assert (chosen.config, chosen.file) == (Config(), None)
    assert chosen.note == (
        f"{host_file}: cannot read it: Permission denied; using the built-in defaults instead"
    )
