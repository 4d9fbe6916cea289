"""Logins and what ends them."""

from datetime import timedelta

from server.store import Store
from tests.store.conftest import TestClock
from tests.store.people import register


async def test_a_login_is_found_until_it_ends(store: Store, clock: TestClock) -> None:
    user_id = await register(store)
    login = await store.logins.create(user_id, "Firefox " + "x" * 500, "127.0.0.1", clock.now() + timedelta(hours=1))
    assert await store.logins.get(login.login_id) == login
    assert len(login.device) == 255
    assert not await store.logins.end(user_id + 1, login.login_id), "somebody else's"
    clock.advance(2)
    assert await store.logins.end(user_id, login.login_id)
    assert not await store.logins.end(user_id, login.login_id), "again"
    ended = await store.logins.get(login.login_id)
    assert ended is not None
    assert ended.ended_at == clock.now()
    assert await store.logins.get(login.login_id + 1) is None


async def test_live_logins_come_last_used_first(store: Store, clock: TestClock) -> None:
    user_id = await register(store)
    soon, later = clock.now() + timedelta(seconds=10), clock.now() + timedelta(hours=1)
    expiring = await store.logins.create(user_id, "", "", soon)
    first, second, third = [await store.logins.create(user_id, "", "", later) for _ in range(3)]
    await store.logins.end(user_id, third.login_id)
    clock.advance(5)
    await store.logins.touch({first.login_id: clock.now(), expiring.login_id: clock.now() - timedelta(seconds=1)})
    assert [login.login_id for login in await store.logins.of_user(user_id)] == [
        first.login_id,
        expiring.login_id,
        second.login_id,
    ]
    clock.advance(5)
    assert [login.login_id for login in await store.logins.of_user(user_id)] == [first.login_id, second.login_id]


async def test_all_others_end(store: Store, clock: TestClock) -> None:
    user_id, other = await register(store), await register(store)
    later = clock.now() + timedelta(hours=1)
    logins = [await store.logins.create(user_id, "", "", later) for _ in range(3)]
    stranger = await store.logins.create(other, "", "", later)
    assert await store.logins.end_others(user_id, keep=logins[1].login_id) == [logins[0].login_id, logins[2].login_id]
    assert [login.login_id for login in await store.logins.of_user(user_id)] == [logins[1].login_id]
    assert [login.login_id for login in await store.logins.of_user(other)] == [stranger.login_id]
    assert await store.logins.end_others(user_id, keep=logins[1].login_id) == []
