"""Passwords against real bcrypt: how often it is asked tells that no answer gives a name away."""

import asyncio
import base64
import subprocess
import sys
import threading
from collections.abc import Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import bcrypt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sockmon.config.load import ConfigError
from sockmon.web.security.passwords import (
    WAITING,
    WAITING_OF_ONE,
    BusyError,
    Passwords,
    basic_credentials,
)
from sockmon.web.security.web_config import parse
from tests.lab import PATIENCE

T = TypeVar("T")


def hashed(password: bytes, cost: int = 4) -> str:
    return bcrypt.hashpw(password, bcrypt.gensalt(cost)).decode()


USERS = {
    "alice": hashed(b"alice123"),
    "bob": hashed(b"bob123", 5),
    "zoë": hashed(b"\xc3\xa9t\xc3\xa9"),
}


class Counted:
    """bcrypt, and with what hashes it was asked."""

    def __init__(self) -> None:
        self.hashes: list[str] = []

    def __call__(self, password: bytes, against: bytes) -> bool:
        self.hashes.append(against.decode())
        return bcrypt.checkpw(password, against)


class Held(Counted):
    """bcrypt that takes as long as it is held."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self, password: bytes, against: bytes) -> bool:
        self.begun.set()
        assert self.go_on.wait(PATIENCE)
        return super().__call__(password, against)


def run(coroutine: Coroutine[object, object, T]) -> T:
    return asyncio.run(coroutine)


def asked(
    passwords: Passwords, credentials: Sequence[tuple[bytes, bytes]], client: str = "192.0.2.1"
) -> list[bool]:
    """The answers to several, one after the other."""

    async def ask() -> list[bool]:
        return [await passwords.are_right(USERS, pair, client) for pair in credentials]

    return run(ask())


def test_knows_right_from_wrong() -> None:
    assert asked(
        Passwords(),
        [
            (b"alice", b"alice123"),
            (b"alice", b"alice1234"),
            (b"alice", b"bob123"),
            (b"alice", b""),
            (b"Alice", b"alice123"),
            (b"", b"alice123"),
            ("zoë".encode(), "été".encode()),
            (b"zo\xeb", "été".encode()),
            (b"alice", b"alice123\0"),
        ],
    ) == [True, False, False, False, False, False, True, False, False]


def test_bcrypt_looks_at_72_bytes_as_it_does_everywhere() -> None:
    users = {"long": hashed(b"x" * 72)}
    assert run(Passwords().are_right(users, (b"long", b"x" * 100), ""))
    assert not run(Passwords().are_right(users, (b"long", b"x" * 71), ""))


@pytest.mark.parametrize("name", [b"alice", b"nobody", b"", b"\xff", b"someone else"])
def test_a_wrong_password_costs_one_bcrypt_whether_the_name_is_known_or_not(name: bytes) -> None:
    count = Counted()
    assert asked(Passwords(count), [(name, b"wrong")]) == [False]
    assert len(count.hashes) == 1


def test_an_unknown_name_costs_what_some_user_costs_and_always_the_same() -> None:
    count = Counted()
    passwords = Passwords(count)
    names = [b"nobody%d" % number for number in range(40)]
    asked(passwords, [(name, b"one") for name in names])
    once, count.hashes = count.hashes, []
    asked(passwords, [(name, b"another") for name in names])
    assert once == count.hashes
    assert set(once) == set(USERS.values())  # by its cost alone none stands out


def test_somebodys_password_under_an_unknown_name_is_refused() -> None:
    passwords = Passwords()
    for password in (b"alice123", b"bob123"):
        assert asked(passwords, [(b"nobody%d" % n, password) for n in range(20)]) == [False] * 20


def test_remembers_what_was_right_and_nothing_else() -> None:
    count = Counted()
    passwords = Passwords(count)
    assert asked(passwords, [(b"alice", b"alice123")] * 5) == [True] * 5
    assert len(count.hashes) == 1
    assert asked(passwords, [(b"alice", b"wrong")] * 3) == [False] * 3
    assert len(count.hashes) == 4


def test_a_changed_password_is_not_remembered() -> None:
    passwords = Passwords()
    assert run(passwords.are_right(USERS, (b"alice", b"alice123"), ""))
    changed = {**USERS, "alice": hashed(b"new")}
    assert not run(passwords.are_right(changed, (b"alice", b"alice123"), ""))
    gone = {"bob": USERS["bob"]}
    assert not run(passwords.are_right(gone, (b"alice", b"alice123"), ""))


def test_remembers_a_bounded_number() -> None:
    count = Counted()
    passwords = Passwords(count)
    users = {"long": hashed(b"x" * 72)}
    many = [(b"long", b"x" * 72 + b"%d" % number) for number in range(300)]  # all of them right

    async def ask(pairs: Sequence[tuple[bytes, bytes]]) -> None:
        for pair in pairs:
            assert await passwords.are_right(users, pair, "")

    run(ask(many))
    count.hashes.clear()
    run(ask(many[-50:]))
    assert count.hashes == []
    run(ask(many[:1]))
    assert len(count.hashes) == 1


def test_keys_cannot_be_glued_together() -> None:
    # CVE-2022-46146 of the exporter-toolkit: one user's right answer taken for another's.
    passwords = Passwords()
    glued = b"alice" + USERS["alice"].encode()
    assert asked(passwords, [(b"bob", b"bob123"), (glued, b"bob123")]) == [True, False]
    assert asked(passwords, [(b"alice", USERS["bob"].encode() + b"bob123")]) == [False]


def test_keeps_no_password_in_readable_form() -> None:
    passwords = Passwords()
    asked(passwords, [(b"alice", b"alice123"), (b"alice", b"hunter2")])
    held = repr(vars(passwords))
    assert "alice123" not in held
    assert "hunter2" not in held


def refused(error: BaseException) -> bool:
    """Whether a client was refused for its own share."""
    assert isinstance(error, BusyError)
    return error.client


class Flood:
    """Clients that send passwords while bcrypt is held, busy with the first one's."""

    def __init__(self) -> None:
        self.held = Held()
        self.passwords = Passwords(self.held)
        self.tasks: list[asyncio.Task[bool]] = []

    async def send(self, *clients: str, password: bytes | None = None) -> None:
        """One more password of each; returns when each waits or has been refused."""
        for client in clients:
            word = password or b"wrong%d" % len(self.tasks)
            asking = self.passwords.are_right(USERS, (b"alice", word), client)
            self.tasks.append(asyncio.create_task(asking))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def begin(self) -> None:
        """Occupy the worker."""
        await self.send("first")
        while not self.held.begun.is_set():
            await asyncio.sleep(0)

    async def end(self) -> list[bool | BaseException]:
        self.held.go_on.set()
        return await asyncio.gather(*self.tasks, return_exceptions=True)


def test_one_client_cannot_fill_the_queue() -> None:
    async def flood() -> None:
        clients = Flood()
        await clients.begin()
        await clients.send(*["greedy"] * (WAITING_OF_ONE + 1))
        last = clients.tasks[-1]
        assert last.done()
        assert refused(last.exception() or AssertionError())
        *others, _ = await clients.end()
        assert others == [False] * (1 + WAITING_OF_ONE)

    run(flood())


def test_a_full_queue_makes_room_for_a_client_that_has_less_of_it() -> None:
    async def flood() -> None:
        clients = Flood()
        await clients.begin()
        await clients.send(*[str(n % 20) for n in range(WAITING)])
        await clients.send("newcomer", password=b"alice123")
        outcomes = await clients.end()
        assert outcomes[-1] is True
        (loser,) = (outcome for outcome in outcomes if isinstance(outcome, BusyError))
        assert loser.client

    run(flood())


def test_when_everyone_has_one_place_in_it_it_is_full() -> None:
    async def flood() -> None:
        clients = Flood()
        await clients.begin()
        await clients.send(*[str(n) for n in range(WAITING)])
        await clients.send("one more")
        assert not refused(clients.tasks[-1].exception() or AssertionError())
        outcomes = await clients.end()
        assert outcomes[:-1] == [False] * (1 + WAITING)
        await clients.send("one more")  # there is room again
        assert await clients.tasks[-1] is False

    run(flood())


def test_clients_take_turns() -> None:
    """A scraper waits for one password of each client that guesses, not for all of them."""
    order: list[str] = []

    async def flood() -> None:
        clients = Flood()
        await clients.begin()
        for _ in range(3):
            await clients.send(*[str(n) for n in range(10)])
        await clients.send("scraper", password=b"alice123")
        for client, task in zip(
            ["first", *[str(n % 10) for n in range(30)], "scraper"], clients.tasks, strict=True
        ):
            task.add_done_callback(partial(_note, order, client))
        await clients.end()

    run(flood())
    assert order.index("scraper") <= 1 + 10


def _note(order: list[str], client: str, _: asyncio.Task[bool]) -> None:
    order.append(client)


def test_a_failing_check_is_an_error_of_its_request_only() -> None:
    fails = iter([True, False])

    def fails_once(_password: bytes, _hashed: bytes) -> bool:
        if next(fails):
            raise ValueError("Invalid salt")
        return True

    async def ask() -> None:
        passwords = Passwords(fails_once)
        with pytest.raises(ValueError, match="Invalid salt"):
            await passwords.are_right(USERS, (b"alice", b"alice123"), "")
        assert await passwords.are_right(USERS, (b"alice", b"alice123"), "")

    run(ask())


def test_a_process_ends_in_good_order_while_a_password_is_checked() -> None:
    """In a daemon thread bcrypt would abort it: Rust cannot unwind at the interpreter's end."""
    program = """
import asyncio, bcrypt
from sockmon.web.security.passwords import Passwords

async def main():
    users = {"a": bcrypt.hashpw(b"x", bcrypt.gensalt(4)).decode().replace("$04$", "$11$")}
    passwords = Passwords()
    for number in range(5):
        asyncio.create_task(passwords.are_right(users, (b"a", b"%d" % number), str(number)))
    await asyncio.sleep(0.05)

asyncio.run(main())
"""
    for _ in range(3):
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
        assert (ended.returncode, ended.stderr) == (0, b"")


def test_who_is_known_waits_for_nobody() -> None:
    held = Held()
    passwords = Passwords(held)
    right = (b"alice", b"alice123")

    async def flood() -> None:
        held.go_on.set()
        assert await passwords.are_right(USERS, right, "prometheus")
        held.go_on.clear()
        wrong = [
            asyncio.create_task(passwords.are_right(USERS, (b"alice", b"%d" % n), str(n)))
            for n in range(WAITING)
        ]
        await asyncio.sleep(0)
        assert await passwords.are_right(USERS, right, "prometheus")
        assert not any(task.done() for task in wrong)
        held.go_on.set()
        await asyncio.gather(*wrong)

    run(flood())


def test_the_same_credentials_at_the_same_time_are_checked_once() -> None:
    held = Held()
    passwords = Passwords(held)

    async def page() -> list[bool]:
        loading = [
            asyncio.create_task(passwords.are_right(USERS, (b"alice", b"alice123"), "browser"))
            for _ in range(50)
        ]
        await asyncio.sleep(0)
        loading[0].cancel()  # who asked first does not wait for the answer
        await asyncio.sleep(0)
        held.go_on.set()
        return await asyncio.gather(*loading[1:])

    assert run(page()) == [True] * 49
    assert len(held.hashes) == 1


@given(st.from_regex(r"\$2[aby]\$04\$[./A-Za-z0-9]{22}[./A-Za-z0-9]{31}", fullmatch=True))
@example("$2b$04$" + "." * 21 + "z" + "." * 31)  # which bcrypt calls an invalid salt
def test_a_hash_that_the_configuration_takes_can_be_asked(hashed_text: str) -> None:
    try:
        users = parse(
            f"basic_auth_users: {{a: {hashed_text}}}".encode(), Path("f")
        ).basic_auth_users
    except ConfigError:
        with pytest.raises(ValueError, match="Invalid salt"):
            bcrypt.checkpw(b"", hashed_text.encode())
    else:
        assert not run(Passwords().are_right(users, (b"a", b"wrong"), ""))


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_any_bytes_are_only_wrong(name: bytes, password: bytes) -> None:
    assert asked(Passwords(), [(name, password)]) == [(name, password) == (b"alice", b"alice123")]


def authorization(value: bytes) -> tuple[bytes, bytes] | None:
    return basic_credentials([(b"host", b"x"), (b"authorization", value)])


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"Basic",
        b"Basic ",
        b"Basic !!!!",
        b"Basic YQ",
        b"Basic " + base64.b64encode(b"no colon"),
        b"Bearer " + base64.b64encode(b"a:b"),
        b"Digest username=a",
        b"Basic" + base64.b64encode(b"a:b"),
    ],
)
def test_what_is_no_basic_authentication(value: bytes) -> None:
    assert authorization(value) is None


def test_without_the_header_there_are_no_credentials() -> None:
    assert basic_credentials([(b"host", b"x")]) is None


@given(st.binary(max_size=50).filter(lambda name: b":" not in name), st.binary(max_size=50))
@example(b"", b"")
@example(b"a", b"b:c")
def test_credentials_come_out_as_they_went_in(name: bytes, password: bytes) -> None:
    encoded = base64.b64encode(name + b":" + password)
    assert authorization(b"Basic " + encoded) == (name, password)
    assert authorization(b"basic  " + encoded + b" ") == (name, password)
