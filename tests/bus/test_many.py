"""Many at once: thousands of mailboxes in one process, and what those cost that only wait."""

import asyncio

from server.bus.interface import Address, Mailbox, Post
from tests.bus.ground import Ground
from tests.bus.kinds import takes_seconds
from tests.bus.waiting import read_data, read_some

IDLE = 300
MANY = 2_000
SHARED = 100
"""Mailboxes of a group, where each group costs commands of its own."""
TTL = 2.0
"""Those that nobody renews are gone a second later than that."""
LONG = 60.0


async def test_a_reader_that_waits_costs_nothing(ground: Ground) -> None:
    bus, other = await ground.handle(), await ground.handle()
    addresses = [Address(f"user:{number}", "phone") for number in range(IDLE)]
    mailboxes = [await bus.open_mailbox(address, ttl=LONG, create=True) for address in addresses]
    reads = [asyncio.create_task(mailbox.read()) for mailbox in mailboxes]
    if ground.counts:
        before = ground.commands()
        await asyncio.sleep(1.5)  # nothing is to happen
        assert ground.commands() - before < IDLE / 5  # of two handles' heartbeats, and the sentinels
    for number in (0, IDLE - 1):
        assert await other.post([Post(addresses[number].group, b"awake")]) == [1]
        assert await reads[number] == [(1, b"awake")]
    for read in reads:
        read.cancel()
    await asyncio.wait(reads)


async def test_posts_that_wait_travel_together(ground: Ground) -> None:
    bus, other = await ground.handle(), await ground.handle()
    mailbox = await other.open_mailbox(Address("user:1", "phone"), ttl=LONG, create=True)
    before = ground.commands() if ground.counts else 0
    assert await asyncio.gather(*(bus.post([Post("user:1", b"%d" % number)]) for number in range(500))) == [[1]] * 500
    assert len(await read_data(mailbox, 500)) == 500
    if ground.counts:
        assert ground.commands() - before < 100


@takes_seconds
async def test_thousands_of_mailboxes_of_one_process(ground: Ground) -> None:
    bus, other = await ground.handle(), await ground.handle()
    size = SHARED if ground.shards else 1
    addresses = [Address(f"user:{number // size}", f"device-{number % size}") for number in range(MANY)]
    groups = sorted({address.group for address in addresses})

    async def opened(address: Address) -> Mailbox:
        return await bus.open_mailbox(address, ttl=TTL, create=True)

    mailboxes = await asyncio.gather(*map(opened, addresses))
    assert await other.post([Post(group, b"for all") for group in groups]) == [size] * len(groups)
    for mailbox in mailboxes:
        assert await read_some(mailbox) == [(1, b"for all")]
        mailbox.ack(1)

    before = ground.commands() if ground.counts else 0
    await asyncio.sleep(TTL + 1.5)  # nothing is to happen
    if ground.counts:
        assert ground.commands() - before < MANY / 8
    assert await other.post([Post(group, b"again") for group in groups]) == [size] * len(groups)
    for mailbox in mailboxes:
        assert await read_some(mailbox) == [(2, b"again")]

    await bus.close()
    assert await other.post([Post(group, b"kept") for group in groups]) == [size] * len(groups)


async def test_a_storm_of_requests_of_every_sort(ground: Ground) -> None:
    """More than there are connections; all are answered."""
    bus = await ground.handle()
    groups = [f"user:{number}" for number in range(300)]
    await asyncio.gather(*(bus.put(group, "key", group.encode(), LONG) for group in groups))
    values = await asyncio.gather(*(bus.get(group, "key") for group in groups))
    assert values == [group.encode() for group in groups]
    leases = await asyncio.gather(*(bus.acquire(group, LONG) for group in groups))
    assert all(lease is not None and lease.held for lease in leases)
    assert await asyncio.gather(*(bus.acquire(group, LONG) for group in groups)) == [None] * len(groups)
    await bus.close()
    other = await ground.handle()
    assert None not in await asyncio.gather(*(other.acquire(group, LONG) for group in groups))
