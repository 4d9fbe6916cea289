"""One session: opened, in order and without a gap, acknowledged, and read slowly."""

from collections.abc import Collection
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import Connection

from server.bus.interface import BusUnavailable, MailboxTaken
from server.bus.memory import MemoryBus, MemoryHub
from server.model.entities import Contact
from server.runtime.metrics import Metrics
from server.services.notifier import Notifier
from server.services.sessions import SessionHub
from server.store import Store, StoreUnavailable
from tests.services.devices import connected, until
from tests.services.sessions.conftest import OpenHub, Send
from tests.store.conftest import TestClock
from tests.store.people import register, say


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
                await until(lambda count=count: len(device.deliveries) == count and device.pings)  # type: ignore[misc]
            assert device.pings == 1
            assert device.pong(), "the answer"
            await until(lambda: device.pings == 2)
            assert device.pong()
            assert not device.pong(), "nobody asked"
            await send(1)
            await until(lambda: device.pings == 3)

    async def test_only_the_answer_to_the_last_ping_confirms(
        self, sessions: SessionHub, hub: MemoryHub, send: Send, ben: int
    ) -> None:
        """Neither one that nobody asked for, nor one to a ping from before the bus forgot everything; nor does the bus'
        forgetting confirm what was on the way."""
        async with connected(sessions, ben, answers=False) as device:
            await send(1)
            await until(lambda: device.pings == 1)
            first = device.asked
            assert not device.pong(b"")
            hub.flush()
            await until(lambda: any(box.note for box in hub.boxes(f"user:{ben}").values()))
            (box,) = hub.boxes(f"user:{ben}").values()
            assert box.note == b"0"
            assert not device.pong(b"nonsense")
            await send(1)
            await until(lambda: device.deliveries == [1, 2] and device.pings == 2)
            assert not device.pong(first)
            device.go()
        async with connected(sessions, ben, device.session.session_id) as again:
            await until(lambda: again.deliveries[-1:] == [2])

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
            await until(lambda: device.deliveries == [1] and device.confirmed == 1)
            device.stop_reading()
            request = await store.contacts.request(await register(store), ben)
            await notifier.contact_request(request)
            for _ in range(5):
                await send(10)
                clock.advance(60)
            assert sum(len(box.entries) for box in hub.boxes(f"user:{ben}").values()) <= 10
            device.read_on()
            await until(lambda: device.deliveries == _upto(51) and (3, request.id) in device.hints)
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
