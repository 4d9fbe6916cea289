"""What befalls Redis: it stalls, dies, comes back empty, is replaced; connections break. The bus recovers by itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from server.bus.interface import Address, Bus, BusUnavailable, Mailbox, MailboxClosed, MailboxLost, Post
from server.bus.redis import RedisBus
from server.bus.redis.doorbell import Doorbell
from server.bus.redis.link import Link
from server.clock import SystemClock
from tests.bus.ground import ProxyLine, RedisGround
from tests.bus.operations import SLOW, assert_all_available, assert_all_unavailable
from tests.bus.waiting import (
    LIMIT,
    asked_until,
    eventually,
    now,
    numbered,
    post_all,
    read_data,
    read_some,
    until_available,
)
from tests.support.redis import RedisCluster, RedisSentinels, RedisServer

TIMEOUT = 0.5
LONG = 60.0
BOX = Address("user:1", "phone")
GROUP = "call:1"


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """One that the test may stop."""
    with RedisServer() as server:
        yield server


@pytest.fixture
async def ground(server: RedisServer) -> AsyncIterator[RedisGround]:
    ground = RedisGround(server, timeout=TIMEOUT)
    yield ground
    await ground.close()


async def steadily(work: Callable[[], Awaitable[object]]) -> None:
    """Again until it isn't refused, as users of the bus do."""
    async with asyncio.timeout(LIMIT):
        while True:
            try:
                await work()
            except BusUnavailable:
                await asyncio.sleep(0.02)
            else:
                return


def disruption_of(bus: Bus) -> asyncio.Event:
    event = asyncio.Event()
    bus.on_disruption(event.set)
    return event


async def test_a_stalled_redis_refuses_in_time_and_goes_on_where_it_was(
    server: RedisServer, ground: RedisGround
) -> None:
    bus, other = await ground.handle(), await ground.handle()
    lease = await bus.acquire(GROUP, LONG)
    assert lease is not None
    brief = await bus.acquire("call:2", TIMEOUT)
    assert brief is not None
    mailbox = await bus.open_mailbox(BOX, ttl=LONG, create=True)
    await post_all(other, BOX, numbered(3))
    reading = asyncio.create_task(read_data(mailbox, 4))
    server.stall()
    try:
        since = now()
        await asyncio.wait_for(brief.wait_lost(), LIMIT)
        assert now() - since < TIMEOUT + SLOW
        await assert_all_unavailable(bus, TIMEOUT)
        with pytest.raises(BusUnavailable):
            await lease.put("state", b"1", LONG)
        assert lease.held
        since = now()
        with pytest.raises(BusUnavailable):
            await ground.new().start()
        assert now() - since < TIMEOUT + SLOW
        disrupted = [disruption_of(bus), disruption_of(other)]
    finally:
        server.resume()

    for event in disrupted:
        await asyncio.wait_for(event.wait(), LIMIT)
    await steadily(lambda: other.post([Post(BOX.group, b"3", BOX.name)]))
    assert await reading == numbered(4)
    assert lease.held
    await assert_all_available(bus)
    assert await lease.put("state", b"2", LONG)
    assert await other.acquire(GROUP, LONG) is None


async def test_a_lease_that_was_asked_for_in_vain_is_not_nobodys(server: RedisServer, ground: RedisGround) -> None:
    """Redis gives it when it goes on, though nobody waits any more: whoever asked has it when they ask again."""
    bus, other = await ground.handle(), await ground.handle()
    server.stall()
    try:
        with pytest.raises(BusUnavailable):
            await bus.acquire(GROUP, LONG)
    finally:
        server.resume()
    await until_available(bus)
    assert isinstance(bus, RedisBus)
    (holder,) = bus._leases._unsure.values()
    await asyncio.to_thread(server.execute, "SET", bus._names.lease(GROUP), f"{holder} 7", "PX", 60_000)
    assert await other.acquire(GROUP, LONG) is None
    lease = await bus.acquire(GROUP, LONG)
    assert lease is not None
    assert lease.fence == 7
    assert await lease.put("state", b"mine", LONG)
    await lease.release()
    again = await other.acquire(GROUP, LONG)
    assert again is not None
    assert again.fence > lease.fence


async def test_a_redis_that_is_down_refuses_and_comes_back_empty(server: RedisServer, ground: RedisGround) -> None:
    bus, other = await ground.handle(), await ground.handle()
    lease = await bus.acquire(GROUP, LONG)
    assert lease is not None
    fence = lease.fence
    mailbox = await bus.open_mailbox(BOX, ttl=LONG, create=True)
    reading = asyncio.create_task(read_some(mailbox))
    await asyncio.to_thread(server.kill)
    await assert_all_unavailable(bus, TIMEOUT)
    with pytest.raises(BusUnavailable):
        await ground.new().start()
    await mailbox.close(keep=True)
    with pytest.raises(MailboxClosed):
        await reading
    disrupted = [disruption_of(bus), disruption_of(other)]

    await asyncio.to_thread(server.start)
    for event in disrupted:
        await asyncio.wait_for(event.wait(), LIMIT)
    assert (lease.held, lease.fence) == (True, fence)
    assert await other.acquire(GROUP, LONG) is None
    assert await lease.put("state", b"1", LONG)
    mailbox = await bus.open_mailbox(BOX, ttl=LONG, create=True)
    assert mailbox.fresh
    await post_all(other, BOX, numbered(3))
    assert await read_data(mailbox, 3) == numbered(3)
    await assert_all_available(bus)


async def test_an_open_mailbox_learns_that_redis_was_restarted(server: RedisServer, ground: RedisGround) -> None:
    bus, other = await ground.handle(), await ground.handle()
    for _ in range(2):
        readings = []
        for number in range(5):
            mailbox = await bus.open_mailbox(Address(f"user:{number}", "phone"), ttl=LONG, create=True)
            readings.append(asyncio.create_task(read_some(mailbox)))
        await asyncio.to_thread(server.restart_empty)
        for reading in readings:
            with pytest.raises(MailboxLost):
                await reading
        await until_available(bus)
        await until_available(other)
        assert await other.post([Post("user:1", b"1")]) == [0]


class Stream:
    """Posts numbers, each again until it is taken, and notes what comes: at least once each, in order."""

    def __init__(self, posting: Bus, mailbox: Mailbox) -> None:
        self._posting = posting
        self._mailbox = mailbox
        self.read: list[int] = []
        self._after = 0

    @property
    def first_times(self) -> list[int]:
        return list(dict.fromkeys(self.read))

    async def post(self, numbers: range) -> None:
        for number in numbers:
            await steadily(lambda number=number: self._posting.post([Post(BOX.group, b"%d" % number, BOX.name)]))  # type: ignore[misc]

    async def read_to(self, number: int) -> None:
        while number not in self.read[-50:]:
            for seq, data in await read_some(self._mailbox):
                assert seq == self._after + 1
                self._after = seq
                self.read.append(int(data))
            self._mailbox.ack(self._after)


@pytest.mark.parametrize("which", ["poster", "reader"])
async def test_nothing_is_lost_where_connections_break(ground: RedisGround, which: str) -> None:
    """Breaks come at any moment, in the middle of posts and answers."""
    (broken, line), sound = await ground.handle_with_line(2.0), await ground.handle()
    assert isinstance(line, ProxyLine)
    disrupted = disruption_of(broken)
    posting, reading = (broken, sound) if which == "poster" else (sound, broken)
    stream = Stream(posting, await reading.open_mailbox(BOX, ttl=LONG, create=True))
    breaking = asyncio.create_task(_break_again_and_again(line))
    async with asyncio.TaskGroup() as group:
        group.create_task(stream.post(range(400)))
        group.create_task(stream.read_to(399))
    breaking.cancel()
    assert stream.first_times == list(range(400))
    await asyncio.wait_for(disrupted.wait(), LIMIT)
    await steadily(broken.ping)


async def _break_again_and_again(line: ProxyLine) -> None:
    while True:
        await asyncio.sleep(0.03)
        line.break_connections()


async def test_a_lost_doorbell_costs_a_moment_only(server: RedisServer, ground: RedisGround) -> None:
    """The subscription is lost while entries come, and the server forgets the scripts."""
    reading, posting = await ground.handle(), await ground.handle()
    disrupted = disruption_of(reading)
    stream = Stream(posting, await reading.open_mailbox(BOX, ttl=LONG, create=True))
    async with asyncio.TaskGroup() as group:
        group.create_task(stream.read_to(299))
        for start in range(0, 300, 50):
            await stream.post(range(start, start + 40))
            await asyncio.to_thread(server.execute, "CLIENT", "KILL", "TYPE", "pubsub")
            await asyncio.to_thread(server.execute, "SCRIPT", "FLUSH")
            await stream.post(range(start + 40, start + 50))
    assert stream.read == list(range(300))
    await asyncio.wait_for(disrupted.wait(), LIMIT)


async def test_what_is_opened_while_connections_break_is_ones_own(ground: RedisGround) -> None:
    """An opening or acquisition that is asked again, since its answer got lost, isn't mistaken for somebody else's."""
    bus, line = await ground.handle_with_line(2.0)
    assert isinstance(line, ProxyLine)
    other = await ground.handle()
    breaking = asyncio.create_task(_break_again_and_again(line))
    opened = 0
    for number in range(50):
        address = Address(f"user:{number}", "phone")
        try:
            mailbox = await bus.open_mailbox(address, ttl=LONG, create=True)
            lease = await bus.acquire(f"call:{number}", LONG)
        except BusUnavailable:
            continue
        assert mailbox.fresh
        assert lease is not None
        await post_all(other, address, [b"1"])
        assert await read_some(mailbox) == [(1, b"1")]
        opened += 1
    breaking.cancel()
    assert opened > 20


async def test_a_fail_over_by_sentinels() -> None:
    with RedisSentinels() as sentinels:
        ground = RedisGround(sentinels, timeout=TIMEOUT)
        try:
            bus, other = await ground.handle(), await ground.handle()
            disrupted = [disruption_of(bus), disruption_of(other)]
            lease = await bus.acquire(GROUP, LONG)
            assert lease is not None
            await bus.open_mailbox(BOX, ttl=LONG, create=True)
            await asyncio.to_thread(sentinels.fail_over)

            for handle in (bus, other):
                await until_available(handle)
            for event in disrupted:
                await asyncio.wait_for(event.wait(), LIMIT)
            mailbox = await bus.open_mailbox(BOX, ttl=LONG, create=True)  # kept if it was replicated in time
            await steadily(lambda: other.post([Post(BOX.group, b"after", BOX.name)]))
            assert (await read_some(mailbox))[-1].data == b"after"
            assert lease.held
            assert await lease.put("state", b"1", LONG)
            assert await other.acquire(GROUP, LONG) is None
            await assert_all_available(other)
        finally:
            await ground.close()


async def test_one_node_of_a_cluster_comes_back_empty_then_all_do() -> None:
    with RedisCluster() as cluster:
        ground = RedisGround(cluster, timeout=1.0)
        try:
            bus, other = await ground.handle(), await ground.handle()
            disrupted = disruption_of(bus)
            addresses = [Address(f"user:{number}", "phone") for number in range(24)]
            mailboxes = {address: await bus.open_mailbox(address, ttl=LONG, create=True) for address in addresses}
            readings = {address: asyncio.create_task(mailboxes[address].read()) for address in addresses}
            await asyncio.to_thread(cluster.nodes[0].restart_empty)
            await asyncio.wait_for(disrupted.wait(), LIMIT)

            async def all_there() -> bool:
                return len([await other.get(address.group, "key") for address in addresses]) == len(addresses)

            await asked_until(all_there)
            taken = await other.post([Post(address.group, b"after", address.name) for address in addresses])
            lost = {address for address, count in zip(addresses, taken, strict=True) if count == 0}
            assert 0 < len(lost) < len(addresses)
            await eventually(lambda: all(reading.done() for reading in readings.values()))
            for address, reading in readings.items():
                if address in lost:
                    with pytest.raises(MailboxLost):
                        await reading
                else:
                    assert await reading == [(1, b"after")]
            await assert_all_available(bus)

            for node in cluster.nodes:
                await asyncio.to_thread(node.kill)
            await assert_all_unavailable(bus, 1.0)
            with pytest.raises(BusUnavailable):
                await ground.new().start()
            for node in cluster.nodes:
                await asyncio.to_thread(node.start)
            await asked_until(all_there)
            await assert_all_available(bus)
        finally:
            await ground.close()


async def test_it_cant_start_without_redis(server: RedisServer) -> None:
    await asyncio.to_thread(server.kill)
    bus = RedisBus(server.settings(timeout=TIMEOUT), SystemClock())
    with pytest.raises(BusUnavailable):
        await bus.start()
    await bus.close()


async def test_a_subscription_that_does_not_come_about_leaves_no_connection(server: RedisServer) -> None:
    """Not even one that Redis had taken in, but not answered yet."""
    settings = server.settings(timeout=TIMEOUT)
    doorbell = Doorbell(Link(settings, None), "own", "all", lambda *_: None, lambda _: None, TIMEOUT)
    server.stall()
    try:
        for _ in range(3):
            with pytest.raises(BusUnavailable):
                await doorbell.start()
    finally:
        server.resume()

    async def alone() -> bool:
        return len((await asyncio.to_thread(server.execute, "CLIENT", "LIST")).splitlines()) == 1

    await asked_until(alone)
    await doorbell.start()
    await doorbell.close()
    await asked_until(alone)


async def test_a_client_that_has_lost_sight_of_a_cluster_leaves_no_connection() -> None:
    """Its connections to the nodes that live are closed all the same."""
    with RedisCluster() as cluster:
        link = Link(cluster.settings(timeout=10.0), None)
        await link.start()

        async def write_everywhere() -> list[object]:
            writes = (link.command("SET", f"key:{number}", "value", operation="put") for number in range(60))
            answers: list[object] = await asyncio.gather(*writes, return_exceptions=True)
            return answers

        await write_everywhere()
        dead, *living = cluster.nodes
        await asyncio.to_thread(dead.kill)
        refused = [isinstance(answer, BusUnavailable) for answer in await write_everywhere()]
        assert any(refused)
        await link.close()
        for node in living:
            clients = (await asyncio.to_thread(node.execute, "CLIENT", "LIST", "TYPE", "normal")).splitlines()
            assert len(clients) == 1, "but the one that asks"
