"""What all processes are told: broadcasts, and that the bus may have forgotten something."""

import asyncio
from datetime import timedelta

import pytest

from server.bus.interface import Address, Bus, MailboxClosed, MailboxLost, Post
from server.clock import SystemClock
from tests.bus.ground import Ground
from tests.bus.kinds import takes_seconds
from tests.bus.waiting import eventually, post_all, read_data, read_some

LONG = 30.0
BOX = Address("user:1", "phone")
OTHER = Address("user:2", "phone")


class Disruptions:
    def __init__(self, bus: Bus) -> None:
        self.count = 0
        bus.on_disruption(self._hear)

    def _hear(self) -> None:
        asyncio.get_running_loop()  # where it must be called
        self.count += 1


async def test_a_broadcast_reaches_every_live_process(ground: Ground) -> None:
    handles = [await ground.handle() for _ in range(4)]
    heard: list[list[tuple[str, bytes]]] = [[] for _ in handles]
    for bus, list_ in zip(handles, heard, strict=True):
        for topic in ("login-ended", "login"):
            bus.on_broadcast(topic, lambda data, topic=topic, list_=list_: list_.append((topic, data)))  # type: ignore[misc]
        bus.on_broadcast("login", lambda data, list_=list_: list_.append(("twice", data)))  # type: ignore[misc]
    await handles[3].close()
    await handles[0].broadcast("login-ended", b"42")
    await handles[1].broadcast("nobody's", b"43")
    await handles[2].broadcast("login", b"\0 any \n data \xff")
    await handles[2].broadcast("login", b"")

    expected = sorted(
        [
            ("login-ended", b"42"),
            *((topic, data) for topic in ("login", "twice") for data in (b"", b"\0 any \n data \xff")),
        ]
    )
    await eventually(lambda: all(sorted(list_) == expected for list_ in heard[:3]))
    assert heard[3] == []


async def test_a_bus_that_forgot_everything_tells_and_works_on(ground: Ground) -> None:
    one, other = await ground.handle(), await ground.handle()
    disruptions = [Disruptions(one), Disruptions(other)]
    fired: list[str] = []

    async def fire(name: str, _data: bytes) -> None:
        fired.append(name)

    other.on_timer("ring", fire)
    mailbox = await one.open_mailbox(BOX, ttl=LONG, create=True)
    reading = asyncio.create_task(read_some(mailbox))
    idle = await other.open_mailbox(OTHER, ttl=LONG, create=True)
    await one.put("user:1", "login", b"1", LONG)
    await one.set_timer("ring:forgotten", SystemClock().now() + timedelta(seconds=0.5))

    ground.flush()
    assert await other.get("user:1", "login") is None
    await eventually(lambda: all(told.count > 0 for told in disruptions))
    for read in (reading, asyncio.create_task(read_some(mailbox)), asyncio.create_task(read_some(idle))):
        with pytest.raises(MailboxLost):
            await read
    assert await other.post([Post("user:1", b"lost")]) == [0]

    again = await one.open_mailbox(BOX, ttl=LONG, create=True)
    assert again.fresh
    await post_all(other, BOX, [b"first"])
    assert await read_data(again, 1) == [b"first"]
    await one.set_timer("ring:again", SystemClock().now() + timedelta(seconds=1))
    await eventually(lambda: "ring:again" in fired)
    assert fired == ["ring:again"]


async def test_a_mailbox_opened_anew_after_a_flush_isnt_mistaken_for_the_old_one(ground: Ground) -> None:
    one, other = await ground.handle(), await ground.handle()
    for _ in range(3):
        former = await one.open_mailbox(BOX, ttl=LONG, create=True)
        ground.flush()
        mailbox = await other.open_mailbox(BOX, ttl=LONG, create=True)
        await post_all(one, BOX, [b"new"])
        assert await read_some(mailbox) == [(1, b"new")]
        with pytest.raises(MailboxClosed):  # lost by the flush, or taken since
            await read_some(former)
        await mailbox.close(keep=False)


@takes_seconds
async def test_the_death_of_a_process_is_told_to_the_others(ground: Ground) -> None:
    dying, one, other = [await ground.handle() for _ in range(3)]
    disruptions = [Disruptions(bus) for bus in (one, other)]
    await ground.kill(dying)
    await eventually(lambda: all(told.count > 0 for told in disruptions))


async def test_what_is_closed_answers_nothing_and_what_is_killed_neither(ground: Ground) -> None:
    closed, killed, other = [await ground.handle() for _ in range(3)]
    heard: list[bytes] = []
    for bus in (closed, killed):
        bus.on_broadcast("topic", heard.append)
        bus.on_disruption(lambda: heard.append(b"disruption"))
    await closed.close()
    await ground.kill(killed)
    await killed.close()
    arrived = asyncio.Event()
    other.on_broadcast("topic", lambda _data: arrived.set())
    await other.broadcast("topic", b"1")
    await asyncio.wait_for(arrived.wait(), LONG)
    assert heard == []
