"""Databases that die, stall, restart or are locked: told within the time limit, and nothing acknowledged is lost."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from server.clock import SystemClock
from server.config.settings import Settings, Sqlite
from server.model.entities import Contact
from server.store import Store, StoreUnavailable, open_store, sqlite
from server.store.migrations import migrate
from tests.store.people import everything, ids, pair, register, say, text
from tests.support.mariadb import MariaDb

LIMIT = 1.0
GRACE = 2.0


@pytest.fixture
def frail() -> Iterator[MariaDb]:
    """A server of the test's own."""
    with MariaDb() as server:
        yield server


@asynccontextmanager
async def _open(settings: Settings) -> AsyncIterator[Store]:
    store = await open_store(settings, SystemClock())
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def limited(frail: MariaDb) -> AsyncIterator[Store]:
    settings = Settings(mysql=frail.create_database(timeout=LIMIT))
    await migrate(settings)
    async with _open(settings) as store:
        yield store


async def _unavailable(call: Callable[[], Awaitable[object]]) -> float:
    """The call fails as it should; gives the seconds that took."""
    start = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await call()
    return time.monotonic() - start


async def _recovered(store: Store) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await store.ping()
            except StoreUnavailable:
                await asyncio.sleep(0.02)
            else:
                return


async def _assert_exactly_once(store: Store, contact: Contact, answered: list[str], tried: set[str]) -> None:
    """All that was answered is there, once, and nothing that nobody sent; what wasn't answered may be there or not."""
    deliveries = await everything(store, contact.user_id)
    assert ids(deliveries) == list(range(1, len(deliveries) + 1))
    found = [delivery.message.text for delivery in deliveries]
    assert len(found) == len(set(found))
    assert set(answered) <= set(found) <= tried


@pytest.mark.parametrize("with_local_id", [True, False])
async def test_sends_survive_a_database_that_is_killed(limited: Store, frail: MariaDb, *, with_local_id: bool) -> None:
    contact, _ = await pair(limited)
    answered: list[str] = []
    tried: set[str] = set()
    stop = asyncio.Event()

    async def send(sender: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            content = f"{sender}-{number}"
            tried.add(content)
            try:
                await limited.messages.send(text(contact, content, content if with_local_id else ""))
            except StoreUnavailable:
                await asyncio.sleep(0.01)
            else:
                answered.append(content)

    async def enough(more: int) -> None:
        target = len(answered) + more
        async with asyncio.timeout(30):
            while len(answered) < target:
                await asyncio.sleep(0.005)

    senders = [asyncio.create_task(send(number)) for number in range(8)]
    await enough(50)
    for _ in range(3):
        await asyncio.to_thread(frail.kill)
        await asyncio.to_thread(frail.start)
        await enough(50)
    stop.set()
    await asyncio.gather(*senders)
    await _assert_exactly_once(limited, contact, answered, tried)


async def test_a_restart_between_two_uses_goes_unnoticed(limited: Store, frail: MariaDb) -> None:
    contact, _ = await pair(limited)
    for _ in range(2):
        # several connections of each kind, so that more than one is stale afterwards
        await asyncio.gather(*(limited.ping() for _ in range(5)), *(register(limited) for _ in range(4)))
        await say(limited, contact)
        await asyncio.to_thread(frail.kill)
        await asyncio.to_thread(frail.start)
        await limited.messages.send(text(contact, "lone", ""))
        await asyncio.gather(*(limited.ping() for _ in range(5)), *(register(limited) for _ in range(4)))
    assert len(await everything(limited, contact.owner_id)) == 4


async def test_a_dead_database_is_told_at_once(limited: Store, frail: MariaDb) -> None:
    contact, _ = await pair(limited)
    await asyncio.to_thread(frail.stop)
    calls: tuple[Callable[[], Awaitable[object]], ...] = (
        limited.ping,
        lambda: register(limited),
        lambda: say(limited, contact),
    )
    for call in calls:
        assert await _unavailable(call) < LIMIT + GRACE
    await asyncio.to_thread(frail.start)
    await _recovered(limited)
    await say(limited, contact)


async def test_a_stalled_database_is_told_within_the_limit_and_recovers(limited: Store, frail: MariaDb) -> None:
    contact, _ = await pair(limited)
    await say(limited, contact)
    frail.stall()
    calls: list[Callable[[], Awaitable[object]]] = [
        limited.ping,
        lambda: limited.contacts.of_owner(contact.owner_id),
        lambda: register(limited),
        *[lambda: say(limited, contact, "stalled")] * 5,
    ]
    try:
        # twice: over connections that were open, and over none
        for _ in range(2):
            taken = await asyncio.gather(*map(_unavailable, calls))
            assert max(taken) < LIMIT + GRACE
    finally:
        frail.resume()
    await _recovered(limited)
    last = await say(limited, contact, "after")
    deliveries = await everything(limited, contact.user_id)
    assert ids(deliveries) == list(range(1, len(deliveries) + 1)), (
        "what was given up may be there, whole, or not at all"
    )
    assert deliveries[-1].message == last.message


async def test_sends_that_wait_behind_a_stalled_batch_are_told_within_the_limit(limited: Store, frail: MariaDb) -> None:
    contact, _ = await pair(limited)
    frail.stall()
    try:
        waiting = []
        for _ in range(6):
            waiting.append(asyncio.create_task(_unavailable(lambda: say(limited, contact))))
            await asyncio.sleep(LIMIT / 4)
        assert max(await asyncio.gather(*waiting)) < LIMIT + GRACE
    finally:
        frail.resume()
    await _recovered(limited)
    assert (await say(limited, contact)).created


async def test_a_database_that_is_not_there_is_told_when_opening(frail: MariaDb) -> None:
    settings = Settings(mysql=frail.create_database(timeout=LIMIT))
    await migrate(settings)
    await asyncio.to_thread(frail.kill)
    with pytest.raises(StoreUnavailable):
        await open_store(settings, SystemClock())
    with pytest.raises(StoreUnavailable):
        await migrate(settings)


async def test_a_wrong_password_is_no_passing_trouble(frail: MariaDb) -> None:
    mysql = frail.create_database()
    with pytest.raises(Exception, match="Access denied"):
        await open_store(Settings(mysql=mysql.model_copy(update={"password": SecretStr("wrong")})), SystemClock())


async def test_a_locked_file_is_told_within_the_limit_and_recovers(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, sqlite=Sqlite(timeout=LIMIT))
    async with _open(settings) as store:
        contact, _ = await pair(store)
        await say(store, contact)
        blocker = sqlite3.connect(sqlite.path(tmp_path), isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        try:
            calls: list[Callable[[], Awaitable[object]]] = [
                lambda: register(store),
                *[lambda: say(store, contact)] * 3,
                lambda: store.settings.set_wallpaper(contact.owner_id, ""),
            ]
            taken = await asyncio.gather(*map(_unavailable, calls))
            assert max(taken) < LIMIT + GRACE
            assert len(await store.contacts.of_owner(contact.owner_id)) == 1, "reading goes on"
        finally:
            blocker.execute("ROLLBACK")
            blocker.close()
        await say(store, contact)
        assert ids(await everything(store, contact.user_id)) == [1, 2]


async def test_what_was_taken_in_is_finished_on_closing(settings: Settings) -> None:
    async with _open(settings) as store:
        contact, _ = await pair(store)
        sends = [asyncio.create_task(say(store, contact)) for _ in range(30)]
        await asyncio.sleep(0)
    assert {(await send).created for send in sends} == {True}
    async with _open(settings) as store:
        assert len(await everything(store, contact.user_id)) == 30


async def test_a_sender_who_gives_up_disturbs_nobody(settings: Settings) -> None:
    async with _open(settings) as store:
        contact, _ = await pair(store)
        sends = [asyncio.create_task(say(store, contact)) for _ in range(40)]
        await asyncio.sleep(0)
        for send in sends[::2]:
            send.cancel()
        await asyncio.gather(*sends, return_exceptions=True)
        assert all(send.result().created for send in sends[1::2])
        deliveries = await everything(store, contact.user_id)
        assert ids(deliveries) == list(range(1, len(deliveries) + 1))
        assert {send.result().message.message_id for send in sends[1::2]} <= {
            delivery.message.message_id for delivery in deliveries
        }
