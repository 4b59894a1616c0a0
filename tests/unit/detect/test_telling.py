"""Owners in sentences: who it is, and how to restart it."""

import pytest

from sockmon.detect.commands import restart
from sockmon.detect.evidence import who
from sockmon.model.finding import Advice, Command
from sockmon.model.owner import Owner, Process

PYTHON, WORKER = Process(157, "python3"), Process(158, "python3")


@pytest.mark.parametrize(
    ("owner", "name", "text", "command"),
    [
        (Owner("shop.service", "shop.service", (PYTHON,)), "shop.service",
         "Restart shop.service.", "systemctl restart shop.service"),
        (Owner("shop.service", "shop.service"), "shop.service",
         "Restart shop.service.", "systemctl restart shop.service"),
        (Owner("a_x2db.service", "a\\x2db.service"), "a_x2db.service",
         "Restart a_x2db.service.", "systemctl restart 'a\\x2db.service'"),
        (Owner("0123456789ab", "0123456789ab", (PYTHON,)), "0123456789ab",
         "Restart container 0123456789ab.", None),
        (Owner("python3", None, (PYTHON,)), "python3", "Restart python3, PID 157.", None),
        (Owner("python3", None, (PYTHON, WORKER)), "python3",
         "Restart python3, PIDs 157, 158.", None),
        (Owner("session-3.scope", "session-3.scope", (PYTHON,)), "session-3.scope",
         "Restart python3, PID 157.", None),
        (Owner("session-3.scope", "session-3.scope"), "session-3.scope",
         "Restart session-3.scope.", None),
    ],
)  # fmt: skip
def test_a_known_owner(owner: Owner, name: str, text: str, command: str | None) -> None:
    assert who(owner) == name
    assert restart(owner) == Advice(
        f"{text} It loses its other connections too.",
        None if command is None else Command(command, "here", "changes"),
        "stop",
    )


@pytest.mark.parametrize("owner", [None, Owner("unknown")])
def test_of_an_unknown_owner_it_says_how_to_see_it(owner: Owner | None) -> None:
    assert who(owner) == "an unknown process"
    assert "run sockmon doctor as root" in restart(owner).text
    assert restart(owner).command == Command("sockmon doctor", "here")


def test_what_a_process_calls_itself_stays_on_its_line() -> None:
    assert restart(Owner("a", None, (Process(1, "a\n\x1b[2J"),))).text.isprintable()
