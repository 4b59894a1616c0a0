"""Owners in sentences: who it is, and how to restart it."""

import pytest

from sockmon.detect.evidence import first_aid, who
from sockmon.model.owner import Owner, Process

PYTHON, WORKER = Process(157, "python3"), Process(158, "python3")


@pytest.mark.parametrize(
    ("owner", "name", "restart"),
    [
        (Owner("shop.service", "shop.service", (PYTHON,)), "shop.service",
         "systemctl restart shop.service"),
        (Owner("shop.service", "shop.service"), "shop.service", "systemctl restart shop.service"),
        (Owner("a_x2db.service", "a\\x2db.service"), "a_x2db.service",
         "systemctl restart 'a\\x2db.service'"),
        (Owner("0123456789ab", "0123456789ab", (PYTHON,)), "0123456789ab",
         "restart container 0123456789ab"),
        (Owner("python3", None, (PYTHON,)), "python3", "restart python3, PID 157"),
        (Owner("python3", None, (PYTHON, WORKER)), "python3", "restart python3, PIDs 157, 158"),
        (Owner("session-3.scope", "session-3.scope", (PYTHON,)), "session-3.scope",
         "restart python3, PID 157"),
        (Owner("session-3.scope", "session-3.scope"), "session-3.scope", "restart session-3.scope"),
    ],
)  # fmt: skip
def test_a_known_owner(owner: Owner, name: str, restart: str) -> None:
    assert who(owner) == name
    assert first_aid(owner) == f"First aid: {restart}; it loses its other connections too."


@pytest.mark.parametrize("owner", [None, Owner("unknown")])
def test_of_an_unknown_owner_it_says_how_to_see_it(owner: Owner | None) -> None:
    assert who(owner) == "an unknown process"
    assert "run sockmon doctor as root" in first_aid(owner)
    assert "deploy/README.md" in first_aid(owner)


def test_what_a_process_calls_itself_stays_on_its_line() -> None:
    told = first_aid(Owner("a", None, (Process(1, "a\n\x1b[2J"),)))
    assert told.isprintable()
