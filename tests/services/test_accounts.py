"""Accounts: coming in, who is behind a token, and the end of logins in several processes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import bcrypt
import pytest
from pydantic import SecretStr

from server.bus.memory import MemoryBus
from server.config.settings import Jwt, Limits, Password, RateLimit
from server.errors import ApiError, ErrorCode
from server.runtime.metrics import Metrics
from server.services.accounts import Accounts, LoginSession, NewLogin, Visitor
from server.services.passwords import Passwords
from server.services.ratelimit import RateLimiter
from server.services.tokens import Tokens
from server.store import Store, StoreUnavailable
from tests.store.conftest import TestClock

HERE = Visitor("203.0.113.7", "Browser/1")
PASSWORD = "secret 1"
COST = 4
MANY = RateLimit(count=1000, seconds=60)
TWO = RateLimit(count=2, seconds=60)

Open = Callable[..., Any]


@pytest.fixture
async def open_accounts(store: Store, clock: TestClock, metrics: Metrics) -> AsyncIterator[Open]:
    """Makes the accounts of one process, on its handle of the bus."""
    async with AsyncExitStack() as stack:
        passwords = Passwords(Password(bcrypt_cost=COST))
        stack.push_async_callback(passwords.close)

        def make(bus: MemoryBus, **limits: RateLimit) -> Accounts:
            chosen = Limits.model_validate(limits)
            tokens = Tokens(Jwt(secret=SecretStr("s" * 32)), clock)
            limiter = RateLimiter(bus, clock, chosen)
            accounts = Accounts(store, bus, clock, tokens, passwords, limiter, chosen, metrics)
            accounts.start()
            stack.push_async_callback(accounts.close)
            return accounts

        yield make


@pytest.fixture
async def accounts(open_accounts: Open, bus: MemoryBus) -> Accounts:
    made: Accounts = open_accounts(bus)
    return made


@pytest.fixture
async def elsewhere(open_accounts: Open, other_bus: MemoryBus) -> Accounts:
    """Another process."""
    made: Accounts = open_accounts(other_bus)
    return made


async def _register(accounts: Accounts, username: str = "ann") -> NewLogin:
    return await accounts.register(username, PASSWORD, "Ann", "", HERE)


async def _code(call: Any) -> ErrorCode:
    with pytest.raises(ApiError) as refused:
        await call
    return refused.value.code


async def _heard(done: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not done():
            await asyncio.sleep(0)


class TestComingIn:
    async def test_who_registers_is_logged_in(self, accounts: Accounts, clock: TestClock) -> None:
        new = await _register(accounts)
        session = await accounts.authenticate(new.token)
        assert session.user_id == new.user_id
        assert session.expires_at == clock.now() + timedelta(hours=24)

    @pytest.mark.parametrize(
        ("username", "password"), [("ann", "wrong 1"), ("nobody", PASSWORD), ("", ""), ("ann", "")]
    )
    async def test_who_can_not_come_in(self, accounts: Accounts, username: str, password: str) -> None:
        await _register(accounts)
        assert await _code(accounts.login(username, password, HERE)) is ErrorCode.WRONG_PASSWORD

    async def test_an_old_hash_is_renewed_at_the_first_login(self, accounts: Accounts, store: Store) -> None:
        old = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(6, prefix=b"2a")).decode()
        user_id = await store.users.create("veteran", old, "Veteran", "")
        assert await _code(accounts.login("veteran", "wrong 1", HERE)) is ErrorCode.WRONG_PASSWORD
        kept = await store.users.credentials("veteran")
        assert kept is not None
        assert kept.password_hash == old
        assert (await accounts.login("veteran", PASSWORD, HERE)).user_id == user_id
        renewed = await store.users.credentials("veteran")
        assert renewed is not None
        assert renewed.password_hash.startswith(f"$2b${COST:02d}$")
        assert (await accounts.login("veteran", PASSWORD, HERE)).user_id == user_id
        assert await store.users.credentials("veteran") == renewed, "once"

    async def test_names_are_normalised_before_they_are_compared(self, accounts: Accounts) -> None:
        new = await _register(accounts, "ﬁsh Ångström")  # a ligature, and a letter that has two encodings
        for spelling in ("fish Ångström", "FISH A\u030angstro\u0308m", "ｆｉｓｈ Ångström"):
            assert (await accounts.login(spelling, PASSWORD, HERE)).user_id == new.user_id
            assert await _code(_register(accounts, spelling)) is ErrorCode.USERNAME_TAKEN


class TestThrottling:
    async def test_tries_for_one_name_are_counted_whatever_its_spelling(
        self, open_accounts: Open, bus: MemoryBus
    ) -> None:
        accounts = open_accounts(bus, login_account=TWO, login_address=MANY)
        await _register(accounts)
        await _register(accounts, "ben")
        for spelling in ("ann", "ＡＮＮ"):
            assert await _code(accounts.login(spelling, "wrong 1", HERE)) is ErrorCode.WRONG_PASSWORD
        for visitor in (HERE, Visitor("198.51.100.1", "")):
            assert await _code(accounts.login("Ann", PASSWORD, visitor)) is ErrorCode.TOO_MANY
        assert await accounts.login("ben", PASSWORD, HERE)

    async def test_tries_for_unknown_names_are_counted_alike(self, open_accounts: Open, bus: MemoryBus) -> None:
        accounts = open_accounts(bus, login_account=TWO, login_address=MANY)
        codes = [await _code(accounts.login("nobody", "wrong 1", HERE)) for _ in range(3)]
        assert codes == [ErrorCode.WRONG_PASSWORD, ErrorCode.WRONG_PASSWORD, ErrorCode.TOO_MANY]

    async def test_tries_from_one_address_are_counted(self, open_accounts: Open, bus: MemoryBus) -> None:
        accounts = open_accounts(bus, login_address=TWO, login_account=MANY)
        for name in ("a", "b"):
            assert await _code(accounts.login(name, "wrong 1", HERE)) is ErrorCode.WRONG_PASSWORD
        assert await _code(accounts.login("c", "wrong 1", HERE)) is ErrorCode.TOO_MANY
        assert await _code(accounts.login("c", "wrong 1", Visitor("198.51.100.1", ""))) is ErrorCode.WRONG_PASSWORD

    async def test_new_accounts_from_one_address_are_counted(self, open_accounts: Open, bus: MemoryBus) -> None:
        accounts = open_accounts(bus, register_address=TWO)
        for name in ("one", "two"):
            await _register(accounts, name)
        assert await _code(_register(accounts, "three")) is ErrorCode.TOO_MANY
        assert await accounts.register("three", PASSWORD, "3", "", Visitor("198.51.100.1", ""))


class TestWhoIsIt:
    async def test_a_token_may_follow_the_word_bearer(self, accounts: Accounts) -> None:
        new = await _register(accounts)
        for form in ("{}", "Bearer {}", "bearer {}", " {} ", "Bearer  {} "):
            assert (await accounts.authenticate(form.format(new.token))).user_id == new.user_id

    @pytest.mark.parametrize("token", ["", " ", "Bearer", "Bearer ", "rubbish", "Basic YTpi"])
    async def test_what_is_no_token_is_no_login(self, accounts: Accounts, token: str) -> None:
        assert await _code(accounts.authenticate(token)) is ErrorCode.UNAUTHORIZED

    async def test_a_login_that_is_not_there_is_none(self, accounts: Accounts, clock: TestClock) -> None:
        token = Tokens(Jwt(secret=SecretStr("s" * 32)), clock).for_login(999, clock.now() + timedelta(hours=1))
        assert await _code(accounts.authenticate(token)) is ErrorCode.UNAUTHORIZED

    async def test_a_login_is_over_after_24_hours_also_where_it_is_cached(
        self, accounts: Accounts, clock: TestClock
    ) -> None:
        new = await _register(accounts)
        clock.advance(24 * 3600 - 1)
        session = await accounts.authenticate(new.token)
        assert not accounts.is_over(session)
        clock.advance(1)
        assert accounts.is_over(session)
        assert await _code(accounts.authenticate(new.token)) is ErrorCode.LOGIN_EXPIRED

    async def test_a_known_login_is_looked_up_once(
        self, accounts: Accounts, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        new = await _register(accounts)
        first = await accounts.authenticate(new.token)

        async def unavailable(_login_id: int) -> None:
            raise StoreUnavailable("away")

        monkeypatch.setattr(store.logins, "get", unavailable)
        assert await accounts.authenticate(new.token) == first
        other = await accounts.login("ann", PASSWORD, HERE)
        assert await _code(accounts.authenticate(other.token)) is ErrorCode.UNAVAILABLE, "not known, not unknown"

    async def test_a_bus_that_forgot_everything_logs_nobody_out(self, accounts: Accounts, bus: MemoryBus) -> None:
        new = await _register(accounts)
        bus.hub.flush()
        assert (await accounts.authenticate(new.token)).user_id == new.user_id


class TestTheEnd:
    async def test_it_is_heard_of_in_every_process(self, accounts: Accounts, elsewhere: Accounts) -> None:
        new = await _register(accounts)
        here, there = [await process.authenticate(new.token) for process in (accounts, elsewhere)]
        told: list[tuple[str, int]] = []
        accounts.on_login_ended(lambda login_id: told.append(("here", login_id)))
        elsewhere.on_login_ended(lambda login_id: told.append(("there", login_id)))
        await accounts.logout(here)
        await _heard(lambda: len(told) == 2)
        assert sorted(told) == [("here", here.login_id), ("there", here.login_id)]
        for process, session in ((accounts, here), (elsewhere, there)):
            assert process.is_over(session)
            assert await _code(process.authenticate(new.token)) is ErrorCode.LOGIN_EXPIRED

    async def test_a_process_that_missed_it_notices_within_a_minute_or_after_the_trouble(
        self, accounts: Accounts, elsewhere: Accounts, other_bus: MemoryBus
    ) -> None:
        new = await _register(accounts)
        session = await elsewhere.authenticate(new.token)
        other_bus.isolate()
        await accounts.logout(await accounts.authenticate(new.token))
        assert await elsewhere.authenticate(new.token) == session, "it can't know"
        other_bus.heal()
        assert await _code(elsewhere.authenticate(new.token)) is ErrorCode.LOGIN_EXPIRED

    async def test_who_is_connected_is_looked_after_though_nobody_asks(
        self, accounts: Accounts, elsewhere: Accounts, store: Store, bus: MemoryBus, other_bus: MemoryBus
    ) -> None:
        """Whether the word of the end was lost here or there, and while the database is away for a moment."""
        ended: list[int] = []
        elsewhere.on_login_ended(ended.append)
        sessions = [await accounts.authenticate((await _register(accounts, name)).token) for name in ("one", "two")]
        elsewhere.watch(lambda: [session.login_id for session in sessions])
        other_bus.isolate()
        await accounts.logout(sessions[0])
        assert ended == []
        other_bus.heal()
        await _heard(lambda: ended == [sessions[0].login_id])
        bus.isolate()
        await accounts.logout(sessions[1])
        elsewhere.look_soon()
        await _heard(lambda: sessions[1].login_id in ended)

    async def test_it_is_not_missed_while_the_login_is_looked_up(
        self, accounts: Accounts, elsewhere: Accounts, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        new = await _register(accounts)
        mine = await accounts.authenticate(new.token)
        real = store.logins.get
        ended: list[int] = []
        elsewhere.on_login_ended(ended.append)

        async def slow(login_id: int) -> Any:
            found = await real(login_id)
            await accounts.logout(mine)
            await _heard(lambda: ended)
            return found

        monkeypatch.setattr(store.logins, "get", slow)
        assert await _code(elsewhere.authenticate(new.token)) is ErrorCode.LOGIN_EXPIRED
        monkeypatch.undo()
        assert await _code(elsewhere.authenticate(new.token)) is ErrorCode.LOGIN_EXPIRED

    async def test_it_goes_on_without_the_bus(self, accounts: Accounts, bus: MemoryBus) -> None:
        new = await _register(accounts)
        session = await accounts.authenticate(new.token)
        bus.isolate()
        await accounts.logout(session)
        assert await _code(accounts.authenticate(new.token)) is ErrorCode.LOGIN_EXPIRED

    async def test_all_others_or_one(self, accounts: Accounts) -> None:
        await _register(accounts)
        first, second, third = [
            await accounts.authenticate((await accounts.login("ann", PASSWORD, Visitor("", device))).token)
            for device in ("first", "second", "third")
        ]
        assert {login.device for login in await accounts.logins(first)} == {"Browser/1", "first", "second", "third"}
        await accounts.end_login(first, second.login_id)
        assert await _code(accounts.end_login(first, second.login_id)) is ErrorCode.NOT_FOUND
        await accounts.end_other_logins(third)
        assert [login.device for login in await accounts.logins(third)] == ["third"]
        assert [accounts.is_over(session) for session in (first, second, third)] == [True, True, False]

    async def test_somebody_elses_login_is_not_ones_own(self, accounts: Accounts) -> None:
        ann, eve = await _register(accounts), await _register(accounts, "eve")
        anns, eves = await accounts.authenticate(ann.token), await accounts.authenticate(eve.token)
        assert await _code(accounts.end_login(eves, anns.login_id)) is ErrorCode.NOT_FOUND
        await accounts.end_other_logins(eves)
        assert await accounts.authenticate(ann.token) == anns


async def test_the_last_use_of_a_login_is_kept(accounts: Accounts, store: Store, clock: TestClock) -> None:
    new = await _register(accounts)
    clock.advance(5)
    session: LoginSession = await accounts.authenticate(new.token)
    (login,) = await accounts.logins(session)
    assert login.last_used_at == clock.now()
    clock.advance(5)
    await accounts.authenticate(new.token)
    await accounts.close()
    kept = await store.logins.get(session.login_id)
    assert kept is not None
    assert kept.last_used_at == clock.now(), "what was gathered is written at the end"
