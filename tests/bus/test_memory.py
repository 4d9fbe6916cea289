"""What is particular to the bus in memory, and what simulations rely on: its faults, and that it repeats itself."""

import asyncio
import random
from collections import Counter
from datetime import timedelta

import pytest

from server.bus.interface import Address, BusUnavailable, MailboxLost, Post
from server.bus.memory import Faults, MemoryBus, MemoryHub
from server.clock import SystemClock
from tests.bus.operations import assert_all_available, assert_all_unavailable
from tests.bus.waiting import LIMIT, eventually, numbered, post_all, read_data, read_some

LONG = 30.0
BOX = Address("user:1", "phone")
CLOCK = SystemClock()


class Trouble(Faults):
    """Delays each operation, refuses some, repeats some posts."""

    def __init__(self, *, delay: float = 0.0, refused: frozenset[str] = frozenset(), repeats: int = 0) -> None:
        self.delay = delay
        self.refused = refused
        self.repeated = repeats
        self.seen: Counter[str] = Counter()

    async def before(self, operation: str) -> None:
        self.seen[operation] += 1
        await asyncio.sleep(self.delay)
        if operation in self.refused:
            raise BusUnavailable(operation)

    def repeats(self, post: Post) -> int:
        return self.repeated


async def _handle(hub: MemoryHub, faults: Faults | None = None) -> MemoryBus:
    bus = MemoryBus(hub, CLOCK, faults)
    await bus.start()
    return bus


async def test_every_operation_meets_the_faults_of_its_handle_alone() -> None:
    hub = MemoryHub()
    trouble = Trouble()
    bus, other = await _handle(hub, trouble), await _handle(hub)
    await assert_all_available(bus)
    names = set(trouble.seen)
    assert len(names) >= 19
    assert set(trouble.seen.values()) == {1}

    trouble.refused = frozenset(names)
    await assert_all_unavailable(bus, 0.0)
    await assert_all_available(other)


async def test_a_refused_operation_isnt_carried_out_and_a_delayed_one_later() -> None:
    hub = MemoryHub()
    refusing = await _handle(hub, Trouble(refused=frozenset({"put", "post", "acquire"})))
    delaying = await _handle(hub, Trouble(delay=0.05))
    other = await _handle(hub)
    mailbox = await other.open_mailbox(BOX, ttl=LONG, create=True)
    with pytest.raises(BusUnavailable):
        await refusing.put("user:1", "key", b"refused", LONG)
    with pytest.raises(BusUnavailable):
        await refusing.acquire("call:1", LONG)
    with pytest.raises(BusUnavailable):
        await refusing.post([Post("user:1", b"refused")])
    assert await other.get("user:1", "key") is None
    assert await other.acquire("call:1", LONG) is not None

    late = asyncio.create_task(delaying.post([Post("user:1", b"late")]))
    await asyncio.sleep(0)
    await other.post([Post("user:1", b"early")])
    assert await late == [1]
    assert await read_data(mailbox, 2) == [b"early", b"late"]


async def test_a_repeated_post_comes_behind_those_it_was_made_with() -> None:
    hub = MemoryHub()
    bus = await _handle(hub, Trouble(repeats=2))
    mailbox = await bus.open_mailbox(BOX, ttl=LONG, create=True)
    assert await bus.post([Post("user:1", b"1"), Post("user:1", b"2")]) == [1, 1]
    assert await read_data(mailbox, 6) == [b"1", b"2", b"1", b"1", b"2", b"2"]


async def test_an_operation_that_was_under_way_when_its_handle_was_cut_off_fails() -> None:
    hub = MemoryHub()
    bus, other = await _handle(hub, Trouble(delay=0.02)), await _handle(hub)
    under_way = [asyncio.create_task(bus.put("user:1", key, b"value", LONG)) for key in ("one", "two")]
    await asyncio.sleep(0)
    bus.isolate()
    for task in under_way:
        with pytest.raises(BusUnavailable):
            await task
    assert await other.get("user:1", "one") is None
    bus.heal()
    await bus.put("user:1", "one", b"value", LONG)
    assert await other.get("user:1", "one") == b"value"


async def test_a_handle_that_is_cut_off_hears_and_fires_nothing() -> None:
    hub = MemoryHub()
    cut_off, other = await _handle(hub), await _handle(hub)
    heard: list[str] = []

    async def fire(name: str, _data: bytes) -> None:
        heard.append(name)

    async def expire(group: str) -> None:
        heard.append(group)

    cut_off.on_broadcast("topic", lambda _data: heard.append("broadcast"))
    cut_off.on_timer("ring", fire)
    cut_off.on_lease_expired("call:", expire)
    cut_off.on_disruption(lambda: heard.append("disruption"))
    dying = await _handle(hub)
    await dying.acquire("call:1", 0.05)
    dying.kill()
    cut_off.isolate()
    await assert_all_unavailable(cut_off, 0.0)
    told = asyncio.Event()
    other.on_timer("told", lambda _name, _data: _set(told))
    await other.set_timer("ring:1", CLOCK.now())
    await other.broadcast("topic", b"")
    await other.set_timer("told:1", CLOCK.now() + timedelta(seconds=0.8))  # when the lease has run out, too
    await asyncio.wait_for(told.wait(), LIMIT)
    assert hub.held_leases() == ["call:1"]
    hub.flush()  # which it doesn't notice either
    await asyncio.sleep(0)
    assert heard == []

    cut_off.heal()
    assert heard == ["disruption"]


async def _set(event: asyncio.Event) -> None:
    event.set()


async def test_a_flush_while_a_handle_is_cut_off_shows_when_it_is_healed() -> None:
    hub = MemoryHub()
    cut_off, other = await _handle(hub), await _handle(hub)
    mailbox = await cut_off.open_mailbox(BOX, ttl=LONG, create=True)
    kept, taken = await cut_off.acquire("call:1", LONG), await cut_off.acquire("call:2", LONG)
    assert kept is not None
    assert taken is not None
    cut_off.isolate()
    hub.flush()
    assert await other.acquire("call:2", LONG) is not None
    cut_off.heal()
    assert kept.held
    assert await kept.put("state", b"1", LONG)
    assert not taken.held
    await asyncio.wait_for(taken.wait_lost(), LIMIT)
    assert not await taken.put("state", b"1", LONG)
    with pytest.raises(MailboxLost):
        await read_some(mailbox)


async def test_whoever_waits_in_a_killed_process_waits_for_ever() -> None:
    hub = MemoryHub()
    dying, other = await _handle(hub), await _handle(hub)
    mailbox = await dying.open_mailbox(BOX, ttl=LONG, create=True)
    waiting = asyncio.create_task(mailbox.read())
    await asyncio.sleep(0)
    dying.kill()
    await post_all(other, BOX, numbered(1))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    with pytest.raises(BusUnavailable):
        await dying.ping()
    waiting.cancel()
    await asyncio.wait({waiting})


async def test_the_hub_shows_what_is_left() -> None:
    hub = MemoryHub()
    bus = await _handle(hub)
    mailbox = await bus.open_mailbox(BOX, ttl=LONG, create=True)
    lease = await bus.acquire("call:1", LONG)
    assert lease is not None
    await bus.set_timer("ring:1", CLOCK.now() + timedelta(seconds=LONG))
    await bus.put("user:1", "key", b"value", LONG)
    await bus.put("user:1", "short", b"value", 0.02)
    await bus.add_member("user:1", "set", "member", LONG)
    await bus.increment("user:1", "count", LONG)
    assert list(hub.all_boxes()) == [BOX]
    assert (hub.held_leases(), hub.timer_names()) == (["call:1"], ["ring:1"])
    await eventually(lambda: len(hub.values) == 1)
    assert (len(hub.sets), len(hub.counters)) == (1, 1)

    await mailbox.close(keep=False)
    await lease.release()
    await bus.drop_timer("ring:1")
    await bus.delete("user:1", "key", "set", "count")
    assert list(hub.all_boxes()) == []
    assert (hub.held_leases(), hub.timer_names()) == ([], [])
    assert (len(hub.values), len(hub.sets), len(hub.counters)) == (0, 0, 0)


def test_the_same_calls_give_the_same_answers_in_the_same_order() -> None:
    """Even where many tasks wait: a simulation that found something can be played again."""

    async def play() -> list[object]:
        hub, rng, answers = MemoryHub(), random.Random(7), list[object]()
        handles = [await _handle(hub, Trouble(repeats=number)) for number in range(3)]
        addresses = [Address(f"user:{number % 3}", f"device-{number % 4}") for number in range(12)]
        readers: list[asyncio.Task[None]] = []

        async def read(number: int) -> None:
            mailbox = await handles[number % 3].open_mailbox(addresses[number], ttl=LONG, create=True)
            while True:
                answers.append((number, await mailbox.read(3)))

        for number in range(12):
            handles[number % 3].on_broadcast("topic", lambda data, number=number: answers.append((number, data)))  # type: ignore[misc]
            readers.append(asyncio.create_task(read(number)))
        for number in range(100):
            bus = rng.choice(handles)
            answers.append(await bus.post([Post(rng.choice(addresses).group, b"%d" % number)]))
            await bus.broadcast("topic", b"%d" % number)
            await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
        for reader in readers:
            reader.cancel()
        await asyncio.wait(readers)
        return answers

    first = asyncio.run(play())
    assert len(first) > 300
    assert asyncio.run(play()) == first
