"""What managers may rely on of the database, and simulations of its stand-in: both are held to the same."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from server.calls.codec import Record, TimelineEntry
from server.calls.durable import DurableCalls
from server.calls.events import HangUp, Happening, Join, Reserved, SocketUp
from server.calls.ports import CallStore, Superseded
from server.calls.state import CallState, Rules, new_call, transition
from server.clock import SystemClock, epoch_millis
from server.config.settings import Settings
from server.model.entities import Delivery
from server.model.enums import CallStatus, EndReason
from server.store import Store, open_store
from tests.calls.memory_store import MemoryCallStore, MemoryDatabase
from tests.store.people import group
from tests.store.ready import mysql_database, sqlite_settings
from tests.support.mariadb import MariaDb

RULES = Rules()
CLOCK = SystemClock()


def now() -> int:
    return epoch_millis(CLOCK.now())


class Ground(ABC):
    """A database, and what is asked of it beside the port."""

    calls: CallStore

    @abstractmethod
    async def new_call(self, size: int = 2, like: CallState | None = None) -> CallState:
        """A new call of so many new users, or of those of another call."""

    @abstractmethod
    async def timeline(self, call_id: int) -> list[TimelineEntry]: ...


class MemoryGround(Ground):
    def __init__(self) -> None:
        self.database = MemoryDatabase()
        self.calls = MemoryCallStore(self.database)
        self._users = 0

    async def new_call(self, size: int = 2, like: CallState | None = None) -> CallState:
        if like is not None:
            members = tuple(member.user_id for member in like.members)
        else:
            members = tuple(range(self._users + 1, self._users + size + 1))
            self._users += size
        call_id, _ = self.database.create(members, now())
        return self.database.rows[call_id].record.call

    async def timeline(self, call_id: int) -> list[TimelineEntry]:
        return self.database.rows[call_id].timeline


class StoreGround(Ground):
    def __init__(self, store: Store) -> None:
        self.store = store
        self.calls = DurableCalls(store.calls)
        self._contacts: dict[int, int] = {}

    async def new_call(self, size: int = 2, like: CallState | None = None) -> CallState:
        if like is not None:
            members = [member.user_id for member in like.members]
        else:
            contacts = await group(self.store, size)
            members = [contact.owner_id for contact in contacts]
            self._contacts |= {contact.owner_id: contact.contact_id for contact in contacts}
        call = (await self.store.calls.create(members[0], self._contacts[members[0]], members[1:])).call
        return new_call(call.call_id, call.members, epoch_millis(call.created_at))

    async def timeline(self, call_id: int) -> list[TimelineEntry]:
        return [
            TimelineEntry(epoch_millis(event.at), event.user_id, Happening(event.event), event.detail)
            for event in await self.store.calls.timeline(call_id)
        ]


@pytest.fixture(params=["memory", "sqlite", "mariadb"])
async def ground(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ground]:
    if request.param == "memory":
        yield MemoryGround()
        return
    settings = sqlite_settings(tmp_path)
    if request.param == "mariadb":
        server: MariaDb = request.getfixturevalue("mariadb")
        settings = Settings(data_dir=tmp_path, mysql=mysql_database(server))
    store = await open_store(settings, CLOCK)
    yield StoreGround(store)
    await store.close()


def after(call: CallState, *events: object) -> CallState:
    for event in events:
        call = transition(call, event, now(), RULES).call  # type: ignore[arg-type]
    return call


def ids(call: CallState) -> list[int]:
    return [member.user_id for member in call.members]


def ready(call: CallState) -> CallState:
    return after(call, Reserved(frozenset(ids(call))))


def told(deliveries: object) -> list[tuple[int, int, bool, CallStatus]]:
    """(receiver, delivery id, is new, status) of each, by receiver."""
    assert isinstance(deliveries, list)
    shown: list[tuple[int, int, bool, CallStatus]] = []
    for delivery in deliveries:
        assert isinstance(delivery, Delivery)
        assert delivery.message.call is not None
        shown.append((delivery.receiver_id, delivery.delivery_id, delivery.is_new, delivery.message.call.status))
    return sorted(shown)


async def test_a_call_that_nobody_has_managed_yet(ground: Ground) -> None:
    call = await ground.new_call(3)
    record = await ground.calls.record(call.call_id)
    assert record == Record(0, call)
    assert await ground.calls.take(call.call_id, 7) == record
    assert await ground.calls.record(10**9) is None
    assert await ground.calls.take(10**9, 7) is None


async def test_what_was_saved_is_what_the_next_owner_takes(ground: Ground) -> None:
    call = await ground.new_call()
    await ground.calls.take(call.call_id, 7)
    assert await ground.calls.reserve(call.call_id, 7, ids(call)) == frozenset(ids(call))
    call = after(ready(call), Join(ids(call)[0]), SocketUp(ids(call)[0], now()))
    await ground.calls.save(Record(7, call), tell=False)
    record = await ground.calls.take(call.call_id, 9)
    assert record is not None
    assert (record.fence, record.call) == (7, call)
    taken = await ground.calls.record(call.call_id)
    assert taken is not None
    assert taken.fence == 9


async def test_an_owner_whose_time_is_over_changes_nothing(ground: Ground) -> None:
    call = await ground.new_call()
    await ground.calls.take(call.call_id, 7)
    await ground.calls.take(call.call_id, 9)
    with pytest.raises(Superseded):
        await ground.calls.reserve(call.call_id, 7, ids(call))
    with pytest.raises(Superseded):
        await ground.calls.save(Record(7, ready(call)), tell=True)
    with pytest.raises(Superseded):
        await ground.calls.take(call.call_id, 8)
    record = await ground.calls.take(call.call_id, 9)
    assert record is not None
    assert record.call == call
    assert not await ground.calls.elsewhere(call.call_id + 1, ids(call)[0])


async def test_a_user_is_in_one_call_at_most(ground: Ground) -> None:
    first = await ground.new_call(3)
    caller, callee, other = ids(first)
    assert await ground.calls.reserve(first.call_id, 1, [caller, callee]) == {caller, callee}
    second = await ground.new_call(like=await _freed(ground, first))
    assert await ground.calls.reserve(second.call_id, 1, ids(second)) == {caller, callee, other}
    assert await ground.calls.elsewhere(first.call_id, other)
    assert not await ground.calls.elsewhere(second.call_id, other)
    assert await ground.calls.reserve(first.call_id, 1, ids(first)) == frozenset()


async def _freed(ground: Ground, call: CallState) -> CallState:
    """Let the call hold nobody, so that its users can be in another."""
    await ground.calls.save(Record(1, replace(call, version=call.version + 1)), tell=False)
    return call


async def test_two_calls_reserve_the_same_users_at_once(ground: Ground) -> None:
    """Each gets those whom the other hasn't."""
    first = await ground.new_call(4)
    second = await ground.new_call(like=first)
    held = await asyncio.gather(
        ground.calls.reserve(first.call_id, 1, ids(first)),
        ground.calls.reserve(second.call_id, 1, reversed(ids(first))),
    )
    assert held[0] | held[1] == set(ids(first))
    assert not held[0] & held[1]


async def test_saving_reserves_nobody_and_lets_go_of_those_who_left(ground: Ground) -> None:
    call = await ground.new_call(3)
    caller, callee, other = ids(call)
    await ground.calls.reserve(call.call_id, 1, ids(call))
    call = ready(call)
    await ground.calls.save(Record(1, call), tell=False)
    call = after(call, HangUp(other))
    await ground.calls.save(Record(1, call), tell=False)
    somewhere = call.call_id + 1_000
    assert [await ground.calls.elsewhere(somewhere, user) for user in (caller, callee, other)] == [True, True, False]
    call = after(call, HangUp(caller))
    assert not call.open
    await ground.calls.save(Record(1, call), tell=False)
    assert [await ground.calls.elsewhere(somewhere, user) for user in (caller, callee, other)] == [False] * 3
    assert await ground.calls.reserve(call.call_id, 1, ids(call)) == frozenset()


async def test_a_change_is_delivered_once_and_told_again(ground: Ground) -> None:
    call = await ground.new_call()
    caller, callee = ids(call)
    await ground.calls.reserve(call.call_id, 1, ids(call))
    call = ready(call)
    first = await ground.calls.save(Record(1, call), tell=True)
    assert told(first) == [(caller, 2, False, CallStatus.READY), (callee, 2, False, CallStatus.READY)]
    again = await ground.calls.save(Record(2, call), tell=True)
    assert told(again) == told(first)
    assert list(await ground.calls.save(Record(2, call), tell=False)) == []
    ended = after(call, HangUp(caller))
    last = await ground.calls.save(Record(2, ended), tell=True)
    assert told(last) == [(caller, 3, False, CallStatus.END), (callee, 3, False, CallStatus.END)]
    late = await ground.calls.save(Record(2, call), tell=True)
    assert told(late) == told(last)
    assert {delivery.message.call and delivery.message.call.end_reason for delivery in late} == {EndReason.CANCELLED}


async def test_the_timeline_grows_by_what_is_not_in_it(ground: Ground) -> None:
    call = await ground.new_call()
    entries = [TimelineEntry(1_000 * number, number, Happening.MEDIA, str(number)) for number in range(1, 6)]
    call = replace(call, version=1)
    await ground.calls.save(Record(1, call, unsaved=tuple(entries[:2]), noted=2), tell=False)
    assert await ground.timeline(call.call_id) == entries[:2]
    # the next owner has, beside new ones, some of which it doesn't know that they were saved
    await ground.calls.save(Record(2, replace(call, version=2), unsaved=tuple(entries[1:4]), noted=4), tell=False)
    assert await ground.timeline(call.call_id) == entries[:4]
    await ground.calls.save(Record(2, replace(call, version=2), unsaved=tuple(entries[4:]), noted=5), tell=False)
    assert await ground.timeline(call.call_id) == entries[:4]
    await ground.calls.save(Record(2, replace(call, version=3), unsaved=tuple(entries[4:]), noted=5), tell=False)
    assert await ground.timeline(call.call_id) == entries
    record = await ground.calls.record(call.call_id)
    assert record is not None
    assert record.noted == 5


async def test_open_calls(ground: Ground) -> None:
    calls = [await ground.new_call() for _ in range(3)]
    assert list(await ground.calls.open_calls()) == [call.call_id for call in calls]
    await ground.calls.save(Record(1, after(calls[1], HangUp(ids(calls[1])[0]))), tell=False)
    assert list(await ground.calls.open_calls()) == [calls[0].call_id, calls[2].call_id]
