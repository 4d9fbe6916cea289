"""Coming back: resuming, taking over, and what the database makes up for."""

import asyncio
from collections.abc import Collection
from contextlib import AsyncExitStack

import pytest

from server.bus.interface import MailboxTaken
from server.bus.memory import MemoryBus, MemoryHub
from server.model.entities import Contact
from server.services.sessions import SessionHub
from server.store import Store, StoreUnavailable
from tests.services.devices import connected, until
from tests.services.sessions.conftest import OpenHub, Send
from tests.store.people import befriend, register, say


def _upto(last: int) -> list[int]:
    return list(range(1, last + 1))


class TestComingBack:
    async def test_what_queued_up_meanwhile_comes_in_order(self, sessions: SessionHub, send: Send, ben: int) -> None:
        async with connected(sessions, ben) as device:
            await send(2)
            await until(lambda: device.deliveries == [1, 2] and device.confirmed == 2)
        await send(3)
        async with connected(sessions, ben, device.session.session_id) as again:
            await send(1)
            await until(lambda: again.deliveries == [3, 4, 5, 6])

    async def test_at_another_process(self, sessions: SessionHub, elsewhere: SessionHub, send: Send, ben: int) -> None:
        async with connected(sessions, ben) as device:
            await send(2)
            await until(lambda: device.deliveries == [1, 2] and device.confirmed == 2)
        await send(1)
        async with connected(elsewhere, ben, device.session.session_id) as again:
            assert again.session.resumed
            await until(lambda: again.deliveries == [3])

    async def test_from_a_process_that_was_killed(
        self, sessions: SessionHub, elsewhere: SessionHub, bus: MemoryBus, store: Store, mine: Contact
    ) -> None:
        """Killed between the commit and the notification: the resume makes up for it."""
        async with connected(sessions, mine.user_id, keep=False) as device:
            await say(store, mine)
            bus.kill()
        async with connected(elsewhere, mine.user_id, device.session.session_id) as again:
            assert again.session.resumed
            await until(lambda: again.deliveries == [1])

    async def test_the_newer_socket_has_the_session(
        self, sessions: SessionHub, elsewhere: SessionHub, send: Send, ben: int
    ) -> None:
        async with connected(sessions, ben, keep=False) as older:
            await send(1)
            await until(lambda: older.deliveries == [1])
            async with connected(elsewhere, ben, older.session.session_id) as newer:
                await until(lambda: older.ended)
                assert isinstance(older.ended, MailboxTaken)
                older.pong()  # of the one that has lost it: changes nothing
                await send(2)
                await until(lambda: newer.deliveries[-2:] == [2, 3])
                assert older.deliveries == [1]
                await older.session.leave()
                await send(1)
                await until(lambda: newer.deliveries[-1:] == [4])

    async def test_a_session_ends_some_time_after_its_connection(
        self, open_hub: OpenHub, bus: MemoryBus, hub: MemoryHub, send: Send, ben: int
    ) -> None:
        sessions = open_hub(bus, lifetime=0.05)
        async with connected(sessions, ben) as device:
            await asyncio.sleep(0.1)  # longer than its life, but for the connection
            await send(1)
            await until(lambda: device.deliveries == [1])
        await until(lambda: not hub.boxes(f"user:{ben}"), "the end of the session")
        async with connected(sessions, ben, device.session.session_id) as again:
            assert again.greeting == f"session:{again.session.session_id}\n1"
            assert again.session.session_id != device.session.session_id

    async def test_a_connection_that_is_gone_stops_the_writer(self, sessions: SessionHub, send: Send, ben: int) -> None:
        async with connected(sessions, ben) as device:
            device.go()
            await send(1)
            await until(lambda: device.ended)
        async with connected(sessions, ben, device.session.session_id) as again:
            await until(lambda: again.deliveries == [1])


class TestTheDatabaseIsTheTruth:
    async def test_a_heartbeat_finds_what_was_never_told(
        self, sessions: SessionHub, store: Store, mine: Contact
    ) -> None:
        async with connected(sessions, mine.user_id) as device, connected(sessions, mine.owner_id) as silent:
            await say(store, mine)
            sessions.check_soon(device.session)
            await until(lambda: device.deliveries == [1])
            assert silent.deliveries == []

    async def test_so_does_time(self, open_hub: OpenHub, bus: MemoryBus, store: Store, mine: Contact) -> None:
        sessions = open_hub(bus, recheck=0.02)
        async with connected(sessions, mine.user_id) as device:
            for count in (1, 2):
                await say(store, mine)
                await until(lambda count=count: device.deliveries == _upto(count))  # type: ignore[misc]

    async def test_after_trouble_of_the_bus_messages_contacts_and_requests_are_told(
        self, sessions: SessionHub, bus: MemoryBus, store: Store, mine: Contact
    ) -> None:
        """Whatever was committed while nobody could be told."""
        ben = mine.user_id
        async with connected(sessions, ben) as device:
            bus.isolate()
            await say(store, mine)
            request = await store.contacts.request(await register(store), ben)
            friend = await befriend(store, ben, await register(store))
            bus.heal()
            made = {(3, request.id), (2, friend.contact_id)}
            await until(lambda: device.deliveries == [1] and made <= set(device.hints))

    async def test_after_a_bus_that_forgot_everything_too(
        self, sessions: SessionHub, hub: MemoryHub, store: Store, send: Send, mine: Contact
    ) -> None:
        async with connected(sessions, mine.user_id) as device:
            await send(1)
            await say(store, mine)
            hub.flush()
            await until(lambda: device.deliveries == [1, 2])
            await send(1)
            await until(lambda: device.deliveries == [1, 2, 3])
            assert device.ended is None
        async with connected(sessions, mine.user_id, device.session.session_id) as again:
            assert again.session.resumed

    async def test_a_database_that_is_away_is_asked_again(
        self, sessions: SessionHub, store: Store, mine: Contact, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        failures = iter([True] * 5)
        heads, between = store.deliveries.heads, store.deliveries.between

        async def flaky_heads(user_ids: Collection[int]) -> dict[int, int]:
            if next(failures, False):
                raise StoreUnavailable
            return await heads(user_ids)

        async def flaky_between(user_id: int, after: int, up_to: int, limit: int) -> object:
            if next(failures, False):
                raise StoreUnavailable
            return await between(user_id, after, up_to, limit)

        async with connected(sessions, mine.user_id) as device:
            await say(store, mine)
            monkeypatch.setattr(store.deliveries, "heads", flaky_heads)
            monkeypatch.setattr(store.deliveries, "between", flaky_between)
            sessions.check_now([device.session])
            await until(lambda: device.deliveries == [1])
            assert next(failures, None) is None

    async def test_an_error_that_nobody_expects_ends_one_comparison_not_all(
        self,
        sessions: SessionHub,
        store: Store,
        mine: Contact,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        async def broken(_: object) -> dict[int, int]:
            raise RuntimeError("unexpected")

        async with connected(sessions, mine.user_id) as device:
            await say(store, mine)
            with monkeypatch.context() as patch:
                patch.setattr(store.deliveries, "heads", broken)
                sessions.check_now([device.session])
                await until(lambda: "1 sessions could not be compared" in caplog.text)
            assert device.deliveries == []
            sessions.check_soon(device.session)
            await until(lambda: device.deliveries == [1])

    async def test_sessions_are_compared_in_one_statement(
        self, sessions: SessionHub, store: Store, mine: Contact, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = store.deliveries.heads
        asked: list[int] = []

        async def heads(user_ids: Collection[int]) -> dict[int, int]:
            asked.append(len(user_ids))
            return await real(user_ids)

        users = [await register(store) for _ in range(20)]
        async with AsyncExitStack() as stack:
            devices = [await stack.enter_async_context(connected(sessions, user)) for user in users]
            monkeypatch.setattr(store.deliveries, "heads", heads)
            for device in devices:
                sessions.check_soon(device.session)
            await until(lambda: asked)
            assert asked == [20]
