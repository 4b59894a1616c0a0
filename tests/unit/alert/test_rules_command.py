"""`sockmon rules` as it is typed."""

from pathlib import Path

import pytest

from sockmon.commands.cli import main
from tests.deploy.promtool import ALERTS, RECORDING, rules_of


@pytest.mark.parametrize(
    ("arguments", "file"), [((), ALERTS), (("--recording",), RECORDING)], ids=str
)
def test_it_prints_what_is_shipped(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], file: Path
) -> None:
    assert main(["rules", *arguments]) == 0
    assert capsys.readouterr().out == file.read_text()


def test_selector_and_runbooks_are_in_what_it_prints(capsys: pytest.CaptureFixture[str]) -> None:
    selector = ["--selector", 'job=~"sockmon.*",env="prod"']
    assert main(["rules", *selector, "--runbooks", "https://wiki.example/runbooks"]) == 0
    rules = {rule["alert"]: rule for rule in rules_of(capsys.readouterr().out)}
    down = rules["SockmonDown"]
    assert down["expr"].startswith('up{job=~"sockmon.*",env="prod"} == 0')
    assert down["annotations"]["runbook_url"] == "https://wiki.example/runbooks/SockmonDown.md"
    assert main(["rules", "--recording", *selector]) == 0
    assert 'up{job=~"sockmon.*",env="prod"}' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--selector", "sockmon"), "--selector: expected label matchers such as job="),
        (("--selector", ""), "--selector: expected label matchers such as job="),
        (("--selector", 'netns="x"', "--recording"), "--selector: netns is no label of a target"),
        (("--runbooks", "wiki"), "--runbooks: 'wiki' is no URL such as"),
        (("--runbooks", "https://w/{{ .Labels }}"), "is no URL such as"),
        (("--runbooks", "https://w/\n"), "is no URL such as"),
        (("--runbooks", "https://"), "is no URL such as"),
    ],
)
def test_a_mistake_is_one_clear_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    assert main(["rules", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert says in captured.err
    assert len(captured.err.splitlines()) == 1
