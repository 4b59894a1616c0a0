"""Owners in sentences: who it is, and how to restart it."""

import pytest

from sockmon.detect.commands import restart
from sockmon.detect.evidence import who
from sockmon.language import Text
from sockmon.model.finding import Advice, Command
from sockmon.model.owner import Owner, Process

PYTHON, WORKER = Process(157, "python3 orders.py"), Process(158, "python3 orders.py")
CHILD, OTHER = Process(159, "sleep"), Process(160, "a\nb")
SHOP = Process(157, "python3", unit="shop.service")
LONG = "a-program-whose-name-is-longer-than-the-kernel-shows"
LOSES, LOSE = "It loses its other connections too.", "They lose their other connections too."


@pytest.mark.parametrize(
    ("owner", "name", "text", "command"),
    [
        (Owner("shop.service", "shop.service", (SHOP,)), "shop.service",
         f"Restart shop.service. {LOSES}", "systemctl restart shop.service"),
        (Owner("shop.service", "shop.service"), "shop.service",
         f"Restart shop.service. {LOSES}", "systemctl restart shop.service"),
        (Owner("shop.service", "shop.service", (SHOP, CHILD)), "shop.service",
         f"Restart shop.service. End sleep, PID 159 too: they hold the same sockets. {LOSES}",
         "systemctl restart shop.service"),
        (Owner("a_x2db.service", "a\\x2db.service"), "a\\x2db.service",
         f"Restart a\\x2db.service. {LOSES}", "systemctl restart 'a\\x2db.service'"),
        (Owner("0123456789ab", "0123456789ab"), "container 0123456789ab",
         f"Restart container 0123456789ab. {LOSES}", None),
        (Owner.of((PYTHON,)), "python3 orders.py",
         f"Restart python3 orders.py, PID 157. {LOSES}", None),
        (Owner.of((PYTHON, WORKER)), "python3 orders.py",
         f"Restart python3 orders.py, PIDs 157 and 158. {LOSE}", None),
        (Owner.of((PYTHON, WORKER, CHILD), more=7), "python3 orders.py",
         f"Restart python3 orders.py, PIDs 157 and 158, and sleep, PID 159, and 7 others. {LOSE}",
         None),
        (Owner.of((OTHER,)), "a\\nb", f"Restart a\\nb, PID 160. {LOSES}", None),
        (Owner.of((Process(1, LONG),)), LONG, f"Restart {LONG}, PID 1. {LOSES}", None),
    ],
)  # fmt: skip
def test_a_known_owner(owner: Owner, name: str, text: str, command: str | None) -> None:
    assert who(owner) == name
    assert restart(owner) == Advice(
        Text(text),
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
