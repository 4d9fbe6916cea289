"""Notification sessions: order, gaps, resuming, taking over, acknowledging, and what the database makes up for."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from typing import Protocol

import pytest
from sqlalchemy import Connection

from server.bus.interface import BusUnavailable, MailboxTaken
from server.bus.memory import MemoryBus, MemoryHub
from server.config.settings import Sessions
from server.model.entities import Contact
from server.runtime.metrics import Metrics
from server.services import session as session_module
from server.services import sessions as hub_module
from server.services.notifier import Notifier
from server.services.sessions import SessionHub
from server.store import Store, StoreUnavailable
from tests.services.devices import connected, until
from tests.store.conftest import TestClock
from tests.store.people import befriend, pair, register, say


class OpenHub(Protocol):
    def __call__(self, bus: MemoryBus, **settings: float) -> SessionHub: ...


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "_CHECK_TICK", 0.01)
    for module in (hub_module, session_module):
        monkeypatch.setattr(module, "RETRY", 0.01)


@pytest.fixture
async def open_hub(store: Store, clock: TestClock, metrics: Metrics) -> AsyncIterator[OpenHub]:
    """The sessions of a process, by its handle on the bus."""
    async with AsyncExitStack() as stack:

        def make(bus: MemoryBus, **settings: float) -> SessionHub:
            hub = SessionHub(store, bus, clock, Sessions.model_validate(settings), metrics)
            hub.start()
            stack.push_async_callback(hub.close)
            return hub

        yield make


@pytest.fixture
async def sessions(open_hub: OpenHub, bus: MemoryBus) -> SessionHub:
    return open_hub(bus)


@pytest.fixture
async def elsewhere(open_hub: OpenHub, other_bus: MemoryBus) -> SessionHub:
    """Another process."""
    return open_hub(other_bus)


@pytest.fixture
async def notifier(bus: MemoryBus, clock: TestClock, metrics: Metrics) -> AsyncIterator[Notifier]:
    notifier = Notifier(bus, clock, metrics)
    notifier.start()
    yield notifier
    await notifier.close()


@pytest.fixture
async def mine(store: Store) -> Contact:
    """Ann's contact of Ben, who receives."""
    return (await pair(store))[0]


Send = Callable[[int], Awaitable[None]]


@pytest.fixture
def send(store: Store, notifier: Notifier, mine: Contact) -> Send:
    """Ann sends so many, and Ben is told."""

    async def send(count: int) -> None:
        for _ in range(count):
            await notifier.deliver((await say(store, mine)).deliveries)

    return send


@pytest.fixture
def ben(mine: Contact) -> int:
    return mine.user_id


def _upto(last: int) -> list[int]:
    return list(range(1, last + 1))


class TestOpening:
    async def test_a_new_session_is_told_the_last_delivery_id(self, sessions: SessionHub, send: Send, ben: int) -> None:
        async with connected(sessions, ben) as device:
            assert device.greeting == f"session:{device.session.session_id}\n0"
        await send(3)
        async with connected(sessions, ben) as device:
            assert device.greeting == f"session:{device.session.session_id}\n3"
            await send(2)
            await until(lambda: device.deliveries == [4, 5])

    @pytest.mark.parametrize("before", [True, False])
    async def test_nothing_falls_between_the_queue_and_the_last_id(
        self, sessions: SessionHub, store: Store, send: Send, ben: int, monkeypatch: pytest.MonkeyPatch, *, before: bool
    ) -> None:
        real = store.deliveries.heads

        async def heads(user_ids: Collection[int]) -> dict[int, int]:
            if before:
                await send(2)
            found = await real(user_ids)
            if not before:
                await send(2)
            return found

        with monkeypatch.context() as patch:
            patch.setattr(store.deliveries, "heads", heads)
            session = await sessions.open(ben, "")
        assert session.cursor == (2 if before else 0)
        async with connected(sessions, ben, session.session_id) as device:
            await send(1)
            await until(lambda: device.deliveries == ([3] if before else [1, 2, 3]))

    @pytest.mark.parametrize("wanted", ["", "x", "0" * 12, "000000000000-" + "x" * 22, "\n", "../.."])
    async def test_an_unknown_id_gives_a_new_session(self, sessions: SessionHub, ben: int, wanted: str) -> None:
        async with connected(sessions, ben, wanted) as device:
            assert not device.session.resumed
            assert device.session.session_id != wanted

    async def test_somebody_elses_id_gives_a_new_session(self, sessions: SessionHub, mine: Contact) -> None:
        async with (
            connected(sessions, mine.user_id) as device,
            connected(sessions, mine.owner_id, device.session.session_id) as thief,
        ):
            assert not thief.session.resumed
            assert thief.session.session_id != device.session.session_id
            assert device.ended is None

    async def test_a_database_that_is_away_leaves_no_half_session(
        self, sessions: SessionHub, store: Store, hub: MemoryHub, ben: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def away(_: object) -> dict[int, int]:
            raise StoreUnavailable

        monkeypatch.setattr(store.deliveries, "heads", away)
        with pytest.raises(StoreUnavailable):
            await sessions.open(ben, "")
        assert list(hub.all_boxes()) == []

    async def test_a_bus_that_is_away_is_told(self, sessions: SessionHub, bus: MemoryBus, ben: int) -> None:
        bus.isolate()
        with pytest.raises(BusUnavailable):
            await sessions.open(ben, "")

    async def test_one_session_too_many_ends_the_oldest(
        self, open_hub: OpenHub, bus: MemoryBus, clock: TestClock, ben: int
    ) -> None:
        sessions = open_hub(bus, **{"per-user": 3})
        async with AsyncExitStack() as stack:
            devices = []
            for _ in range(4):
                devices.append(await stack.enter_async_context(connected(sessions, ben)))
                clock.advance(0.001)
            await until(lambda: devices[0].ended)
            assert isinstance(devices[0].ended, MailboxTaken)
            assert [device.ended for device in devices[1:]] == [None] * 3
        assert len(await bus.mailboxes(f"user:{ben}")) == 3


class TestOrder:
    async def test_what_is_missing_is_filled_in_from_the_database(
        self, sessions: SessionHub, store: Store, notifier: Notifier, mine: Contact, metrics: Metrics
    ) -> None:
        async with connected(sessions, mine.user_id) as device:
            results = [await say(store, mine, f"{number}") for number in range(450)]
            await notifier.deliver(results[-1].deliveries)
            await until(lambda: device.deliveries == _upto(450))
            assert [one["payload"]["text"] for one in device.told] == [f"{number}" for number in range(450)]
        assert metrics.registry.get_sample_value("ichat_notifications_filled_total") == 449

    async def test_what_comes_late_twice_or_in_another_order_is_put_right(
        self, sessions: SessionHub, store: Store, notifier: Notifier, mine: Contact
    ) -> None:
        async with connected(sessions, mine.user_id) as device:
            results = [await say(store, mine) for _ in range(5)]
            for number in (1, 0, 0, 3, 1, 2, 4, 4, 0):
                await notifier.deliver(results[number].deliveries)
            await until(lambda: device.deliveries[-1:] == [5])
            assert device.deliveries == _upto(5)

    async def test_hints_go_between_without_waiting(
        self, sessions: SessionHub, store: Store, notifier: Notifier, send: Send, ben: int
    ) -> None:
        async with connected(sessions, ben) as device:
            await send(1)
            request = await store.contacts.request(await register(store), ben)
            await notifier.contact_request(request)
            await send(1)
            await until(lambda: len(device.told) == 3)
            assert [one["type"] for one in device.told] == [1, 3, 1]
            assert device.hints == [(3, request.id)]

    async def test_a_change_of_an_old_message_is_a_delivery_of_its_own(
        self, sessions: SessionHub, store: Store, notifier: Notifier, mine: Contact, clock: TestClock
    ) -> None:
        async with connected(sessions, mine.user_id) as device:
            sent = (await say(store, mine)).message
            change = await store.messages.revoke(sent.message_id, mine.owner_id, clock.now())
            await notifier.deliver(change.deliveries)
            await until(lambda: device.deliveries == [1, 2])
            assert [one["payload"]["isNew"] for one in device.told] == [True, False]

    async def test_ids_from_before_the_sequence_was_gapless(
        self, sessions: SessionHub, store: Store, notifier: Notifier, mine: Contact
    ) -> None:
        """The new sequence goes on above the highest of the old ids, which had gaps."""

        def skip(connection: Connection) -> None:
            connection.exec_driver_sql("UPDATE delivery_counters SET last_id = last_id + 100")

        async with connected(sessions, mine.user_id) as device:
            results = []
            for _ in range(3):
                results.append(await say(store, mine))
                await store.database.write(skip)
            await notifier.deliver(results[-1].deliveries)
            await until(lambda: device.deliveries == [1, 102, 203])


class TestAcknowledging:
    async def test_what_was_confirmed_does_not_come_again(self, sessions: SessionHub, send: Send, ben: int) -> None:
        async with connected(sessions, ben, answers=False) as device:
            await send(3)
            await until(lambda: device.deliveries == [1, 2, 3] and device.pings)
            assert device.pong()
            await send(2)
            await until(lambda: device.deliveries == _upto(5))
        async with connected(sessions, ben, device.session.session_id) as again:
            assert again.greeting == f"session:{device.session.session_id}"
            await until(lambda: again.deliveries[-1:] == [5])
            assert again.deliveries in ([4, 5], [2, 3, 4, 5], [3, 4, 5]), "what came after the ping that was answered"

    async def test_one_ping_is_under_way_at_a_time(self, sessions: SessionHub, send: Send, ben: int) -> None:
        async with connected(sessions, ben, answers=False) as device:
            for count in range(1, 6):
                await send(1)
                await until(lambda count=count: len(device.deliveries) == count)  # type: ignore[misc]
            assert device.pings == 1
            assert device.pong(), "the answer"
            await until(lambda: device.pings == 2)
            assert device.pong()
            assert not device.pong(), "nobody asked"
            await send(1)
            await until(lambda: device.pings == 3)

    async def test_a_mailbox_keeps_nothing_that_was_confirmed(
        self, sessions: SessionHub, hub: MemoryHub, send: Send, ben: int
    ) -> None:
        async with connected(sessions, ben) as device:
            await send(30)
            await until(lambda: len(device.deliveries) == 30)
            (box,) = hub.boxes(f"user:{ben}").values()
            await until(lambda: not box.entries and box.note == b"30")

    async def test_a_browser_that_answers_no_pings_misses_nothing(
        self, open_hub: OpenHub, bus: MemoryBus, send: Send, ben: int
    ) -> None:
        sessions = open_hub(bus, queue=10)
        async with connected(sessions, ben, answers=False) as device:
            for _ in range(5):
                await send(8)
            await until(lambda: device.deliveries == _upto(40))


class TestComingBack:
    async def test_what_queued_up_meanwhile_comes_in_order(self, sessions: SessionHub, send: Send, ben: int) -> None:
        async with connected(sessions, ben) as device:
            await send(2)
            await until(lambda: device.deliveries == [1, 2] and not device.session.confirming)
        await send(3)
        async with connected(sessions, ben, device.session.session_id) as again:
            await send(1)
            await until(lambda: again.deliveries == [3, 4, 5, 6])

    async def test_at_another_process(self, sessions: SessionHub, elsewhere: SessionHub, send: Send, ben: int) -> None:
        async with connected(sessions, ben) as device:
            await send(2)
            await until(lambda: device.deliveries == [1, 2] and not device.session.confirming)
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
            await until(lambda: device.deliveries == [1] and len(device.hints) >= 2)
            assert {(3, request.id), (2, friend.contact_id)} <= set(device.hints)

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


class TestSlowReaders:
    async def test_who_reads_slowly_costs_a_bounded_queue_and_misses_nothing(
        self,
        open_hub: OpenHub,
        bus: MemoryBus,
        hub: MemoryHub,
        store: Store,
        notifier: Notifier,
        send: Send,
        ben: int,
        clock: TestClock,
    ) -> None:
        """Messages are read from the database; contacts and requests, however old by now, are told again."""
        sessions = open_hub(bus, queue=10)
        async with connected(sessions, ben) as device:
            await send(1)
            await until(lambda: device.deliveries == [1] and not device.session.confirming)
            device.stop_reading()
            request = await store.contacts.request(await register(store), ben)
            await notifier.contact_request(request)
            for _ in range(5):
                await send(10)
                clock.advance(60)
            assert sum(len(box.entries) for box in hub.boxes(f"user:{ben}").values()) <= 10
            device.read_on()
            await until(lambda: device.deliveries == _upto(51) and device.hints)
            assert (3, request.id) in device.hints
            await send(1)
            await until(lambda: device.deliveries == _upto(52))
            assert device.ended is None

    async def test_who_stops_reading_holds_up_nobody_else(self, sessions: SessionHub, send: Send, ben: int) -> None:
        async with connected(sessions, ben) as stuck, connected(sessions, ben) as healthy:
            stuck.stop_reading()
            await send(20)
            sessions.check_now([stuck.session, healthy.session])
            await until(lambda: healthy.deliveries == _upto(20))
            assert stuck.deliveries == []
