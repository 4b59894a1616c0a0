"""`sockmon top` where it cannot be: one clear line each."""

import pytest

from sockmon.commands.cli import main


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--interval", "2"), "--interval: expected a duration such as 5s"),
        (("--interval", "50ms"), "--interval: 50ms is not between 100ms and 1h"),
        (("--interval", "2h"), "--interval: 2h is not between 100ms and 1h"),
        (("--url", "localhost:10776"), "--url: expected http://HOST:PORT"),
        (("--url", "http://u:p@localhost"), "--url: every user can read a password there"),
        (("--url", "http://localhost", "--config", "x"), "--config: a daemon has its own"),
        (("--config", "/nonexistent"), "cannot read it"),
        ((), "top needs a terminal; for a script there are sockmon doctor and sockmon count"),
        (("--url", "http://localhost:1"), "top needs a terminal"),
        (("--no-such",), "unrecognized arguments"),
    ],
)
def test_a_mistake_is_one_clear_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    assert main(["top", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert says in captured.err
    assert len(captured.err.splitlines()) == 1


def test_its_help_tells_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["top", "--help"])
    out = capsys.readouterr().out
    assert all(option in out for option in ("--url", "--interval", "--config"))
