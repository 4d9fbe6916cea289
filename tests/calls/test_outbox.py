"""What a process says gets there in order, whatever the bus does meanwhile, or is given up in time."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from server.bus.interface import Address, BusUnavailable, Post
from server.bus.memory import MemoryBus, MemoryHub
from server.calls.codec import Said, decode_said
from server.calls.events import HangUp, MediaSeen
from server.calls.names import INBOX_TTL, MANAGER, call_group
from server.calls.outbox import SEAT_PATIENCE, Outbox
from server.clock import SystemClock
from tests.virtual import virtual

CALL = 7
GROUP = call_group(CALL)


class Line(MemoryBus):
    """A bus that can be away, and that remembers how it was posted to."""

    def __init__(self) -> None:
        super().__init__(MemoryHub(), SystemClock())
        self.away = False
        self.batches: list[int] = []

    async def post(self, posts: Sequence[Post]) -> list[int]:
        if self.away:
            await asyncio.sleep(0.5)
            raise BusUnavailable("away")
        self.batches.append(len(posts))
        counts = await super().post(posts)
        await asyncio.sleep(0.001)
        return counts


class Desk:
    """An outbox at work, and what came of it."""

    def __init__(self, bus: Line) -> None:
        self.bus = bus
        self.homeless: list[int] = []
        self.done: list[bytes] = []
        self.outbox = Outbox(bus, self.homeless.append)

    def send(self, name: str, *data: bytes) -> None:
        for one in data:
            self.outbox.send(CALL, name, one, lambda one=one: self.done.append(one))  # type: ignore[misc]


class Reader:
    def __init__(self, bus: Line, name: str) -> None:
        self._bus = bus
        self._name = name

    async def read(self) -> list[bytes]:
        """All that is there now."""
        mailbox = await self._bus.open_mailbox(Address(GROUP, self._name), ttl=60.0, create=True)
        await asyncio.sleep(1.0)
        box = self._bus.hub.box(Address(GROUP, self._name))
        assert box is not None
        data = [entry.data for entry in box.entries]
        mailbox.ack(box.last)
        return data


@asynccontextmanager
async def desk() -> AsyncIterator[Desk]:
    bus = Line()
    await bus.start()
    made = Desk(bus)
    running = asyncio.create_task(made.outbox.run())
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await bus.close()


@virtual
async def test_what_comes_while_a_batch_is_on_its_way_travels_with_the_next() -> None:
    async with desk() as d:
        reader = Reader(d.bus, "1")
        assert await reader.read() == []
        d.send("1", b"a")
        await asyncio.sleep(0.0005)
        d.send("1", *(b"%d" % number for number in range(1200)))
        assert await reader.read() == [b"a", *(b"%d" % number for number in range(1200))]
        assert d.bus.batches == [1, 500, 500, 200]
        assert len(d.done) == 1201


@virtual
async def test_a_bus_in_trouble_is_waited_out() -> None:
    async with desk() as d:
        reader = Reader(d.bus, "1")
        assert await reader.read() == []
        d.bus.away = True
        d.send("1", b"a", b"b")
        await asyncio.sleep(20.0)
        assert d.done == []
        d.send("1", b"c")
        d.bus.away = False
        assert await reader.read() == [b"a", b"b", b"c"]
        assert d.done == [b"a", b"b", b"c"]


@virtual
async def test_signaling_waits_a_moment_for_a_mailbox_that_was_forgotten() -> None:
    async with desk() as d:
        d.send("1", b"a")
        await asyncio.sleep(0.1)
        d.send("1", b"b")
        await asyncio.sleep(SEAT_PATIENCE - 1.0)
        assert d.done == []
        assert await Reader(d.bus, "1").read() == [b"a", b"b"]
        assert d.done == [b"a", b"b"]
        assert d.homeless == []


@virtual
async def test_signaling_to_a_socket_that_does_not_come_back_is_given_up() -> None:
    async with desk() as d:
        d.send("1", b"a", b"b")
        await asyncio.sleep(SEAT_PATIENCE + 1.0)
        assert d.done == [b"a", b"b"]
        assert await Reader(d.bus, "1").read() == []


@virtual
async def test_others_do_not_wait_for_a_mailbox_that_is_missing() -> None:
    async with desk() as d:
        reader = Reader(d.bus, "2")
        assert await reader.read() == []
        d.send("1", b"to nobody")
        d.send("2", b"to somebody")
        assert await reader.read() == [b"to somebody"]
        assert d.done == [b"to somebody"]


@virtual
async def test_what_is_said_to_a_manager_waits_for_one_and_nothing_overtakes_it() -> None:
    async with desk() as d:
        d.outbox.say(CALL, HangUp(1))
        await asyncio.sleep(1.0)
        for sender in range(20):
            d.outbox.say(CALL, MediaSeen(sender, 1))
        await asyncio.sleep(INBOX_TTL - 5.0)
        assert set(d.homeless) == {CALL}
        said = [decode_said(data) for data in await Reader(d.bus, MANAGER).read()]
        assert said == [Said(HangUp(1)), *(Said(MediaSeen(sender, 1)) for sender in range(20))]


@virtual
async def test_what_is_said_to_a_manager_is_given_up_when_a_call_can_have_none_any_more() -> None:
    async with desk() as d:
        d.outbox.say(CALL, HangUp(1))
        await asyncio.sleep(INBOX_TTL + 1.0)
        homeless = len(d.homeless)
        await asyncio.sleep(10.0)
        assert len(d.homeless) == homeless
        assert await Reader(d.bus, MANAGER).read() == []


@virtual
async def test_nobody_needs_to_hear_of_a_call_that_is_over() -> None:
    async with desk() as d:
        d.outbox.say(CALL, HangUp(1))
        d.send("1", b"a")
        d.outbox.say(CALL + 1, HangUp(1))
        await asyncio.sleep(0.5)
        d.outbox.forget(CALL)
        assert d.done == [b"a"]
        d.homeless.clear()
        await asyncio.sleep(1.0)
        assert set(d.homeless) == {CALL + 1}


@virtual
async def test_draining_waits_until_all_is_said_but_not_for_ever() -> None:
    async with desk() as d:
        await Reader(d.bus, "1").read()
        d.send("1", b"a")
        await d.outbox.drain(10.0)
        assert d.done == [b"a"]
        d.outbox.say(CALL, HangUp(1))
        start = asyncio.get_running_loop().time()
        await d.outbox.drain(1.0)
        assert asyncio.get_running_loop().time() == start + 1.0
