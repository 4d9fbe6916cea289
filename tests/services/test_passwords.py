"""Hashing passwords: which are accepted, what is renewed, and that nobody waits for one."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import bcrypt
import pytest

from server.config.settings import Password
from server.errors import ApiError, ErrorCode
from server.services.passwords import Passwords

COST = 4
LONG = "密码" * 13
"""78 bytes: bcrypt looks at 72."""


def old_hash(password: bytes, cost: int = 6) -> str:
    """As the server before this one made them."""
    return bcrypt.hashpw(password, bcrypt.gensalt(cost, prefix=b"2a")).decode()


@pytest.fixture
async def passwords() -> AsyncIterator[Passwords]:
    passwords = Passwords(Password(bcrypt_cost=COST))
    yield passwords
    await passwords.close()


@pytest.mark.parametrize("password", ["secret", "密码密码密码", "😀" * 20, LONG, "\0secret", " secret "])
async def test_a_password_is_known_by_its_hash(passwords: Passwords, password: str) -> None:
    known = await passwords.hash(password)
    assert known.startswith("$2b$04$")
    assert len(known) == 60
    assert password not in known
    assert await passwords.check(password, known)
    for other in (password + "x", password.swapcase() + "y", "x" + password, password + "\0"):
        assert not await passwords.check(other, known)
    assert known != await passwords.hash(password), "salted"


async def test_a_long_password_counts_to_its_end(passwords: Passwords) -> None:
    known = await passwords.hash(LONG)
    assert not await passwords.check(LONG[:-1], known)
    assert not await passwords.check(LONG + "x", known)


async def test_old_hashes_are_accepted_and_due_for_renewal(passwords: Passwords) -> None:
    known = old_hash(b"secret")
    assert known.startswith("$2a$06$")
    assert await passwords.check("secret", known)
    assert not await passwords.check("Secret", known)
    assert not passwords.is_current(known)
    assert passwords.is_current(await passwords.hash("secret"))


async def test_the_old_server_looked_at_72_bytes(passwords: Passwords) -> None:
    known = old_hash(LONG.encode()[:72])
    assert await passwords.check(LONG, known)
    assert not await passwords.check("x" + LONG[1:], known)


@pytest.mark.parametrize(
    "known", ["", "secret", "$2a$06$", "$1$abc$def", "$2b$04$" + "x" * 53, "$2a$99$" + "." * 53, "$2b$04$" + "." * 54]
)
async def test_what_is_no_hash_fits_no_password(passwords: Passwords, known: str) -> None:
    assert not await passwords.check("secret", known)
    assert not await passwords.check(known, known)


async def test_another_cost_is_due_for_renewal() -> None:
    cheap, dear = Passwords(Password(bcrypt_cost=4)), Passwords(Password(bcrypt_cost=5))
    known = await cheap.hash("secret")
    assert await dear.check("secret", known)
    assert not dear.is_current(known)
    for passwords in (cheap, dear):
        await passwords.close()


class Work:
    """What bcrypt is asked to do: the thread and the cost of each hash."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.threads: list[str] = []
        self.costs: list[int] = []
        for name in ("hashpw", "checkpw"):
            monkeypatch.setattr(bcrypt, name, self._noting(getattr(bcrypt, name)))

    def _noting(self, function: Callable[[bytes, bytes], Any]) -> Callable[[bytes, bytes], Any]:
        def noting(password: bytes, salt: bytes) -> Any:
            self.threads.append(threading.current_thread().name)
            result = function(password, salt)
            self.costs.append(int(salt[4:6]))
            return result

        return noting


async def test_it_takes_as_long_to_say_that_nobody_is_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each refusal costs one hash of the current cost; what an old hash costs beside it is 1/64 of that at 12."""
    passwords = Passwords(Password(bcrypt_cost=8))
    current = await passwords.hash("secret")
    old = old_hash(b"secret")
    work = Work(monkeypatch)
    for known in (None, current, old, "no hash", "$2b$08$"):
        work.costs.clear()
        assert not await passwords.check("wrong", known)
        assert [cost for cost in work.costs if cost >= 8] == [8], known
    await passwords.close()


async def test_no_hash_is_made_on_the_event_loops_thread(passwords: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(monkeypatch)
    await passwords.check("secret", await passwords.hash("secret"))
    await passwords.check("secret", old_hash(b"secret"))
    mine = threading.current_thread().name
    assert len(work.threads) == 4
    assert [name for name in work.threads if name == mine] == [mine], "the one that this test made itself"


async def test_a_server_with_too_much_to_hash_says_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = Passwords(Password(bcrypt_cost=COST, threads=1, queue=200))
    go_on = threading.Event()
    real = bcrypt.hashpw

    def held(password: bytes, salt: bytes) -> bytes:
        go_on.wait()
        return real(password, salt)

    monkeypatch.setattr(bcrypt, "hashpw", held)
    waiting = [asyncio.create_task(passwords.hash("secret")) for _ in range(200)]
    await asyncio.sleep(0)
    with pytest.raises(ApiError) as refused:
        await passwords.hash("secret")
    assert refused.value.code is ErrorCode.UNAVAILABLE
    go_on.set()
    assert len(set(await asyncio.gather(*waiting))) == 200
    assert await passwords.hash("secret"), "and then it is there again"
    await passwords.close()
