"""Mailboxes that change hands: one reader at a time, nothing lost, order kept."""

import asyncio
import random

import pytest

from server.bus.interface import Address, Bus, Entry, Mailbox, MailboxClosed, MailboxTaken, Post
from tests.bus.ground import Ground
from tests.bus.waiting import LIMIT, numbered, post_all, read_data, read_some

BOX = Address("user:1", "phone")
TTL = 30.0
POSTERS = 4
POSTS = 80


async def test_the_former_reader_learns_that_its_mailbox_was_taken(ground: Ground) -> None:
    first, second = await ground.handle(), await ground.handle()
    former = await first.open_mailbox(BOX, ttl=TTL, create=True)
    for bus in (second, second, first):  # in another process, twice in one, in the first again
        waiting = asyncio.create_task(read_some(former))
        await asyncio.sleep(0)
        mailbox = await bus.open_mailbox(BOX, ttl=TTL, create=True)
        for _ in range(2):  # now, and at any later call
            with pytest.raises(MailboxTaken):
                await waiting
            waiting = asyncio.create_task(read_some(former))
        waiting.cancel()
        await asyncio.wait({waiting})
        former = mailbox


async def test_of_many_who_open_it_at_once_one_has_it(ground: Ground) -> None:
    first, second = await ground.handle(), await ground.handle()
    for round_ in range(15):
        address = Address("user:1", f"phone {round_}")
        handles = [first, first, second, first, first, second]
        readers = await asyncio.gather(*(bus.open_mailbox(address, ttl=TTL, create=True) for bus in handles))
        reads = [asyncio.create_task(read_some(reader)) for reader in readers]
        await post_all(second, address, [b"a"])
        async with asyncio.timeout(LIMIT):
            read = await asyncio.gather(*reads, return_exceptions=True)
        assert [type(one) for one in read].count(MailboxTaken) == len(handles) - 1
        (owner,) = [reader for reader, one in zip(readers, read, strict=True) if not isinstance(one, MailboxTaken)]
        await post_all(first, address, [b"b"])
        assert await read_data(owner, 1) == [b"b"]
        await owner.close(keep=False)


async def test_a_former_reader_doesnt_touch_the_mailbox(ground: Ground) -> None:
    first, second = await ground.handle(), await ground.handle()
    for keep in (False, True):
        former = await first.open_mailbox(BOX, ttl=TTL, create=True, note=b"note")
        await post_all(first, BOX, numbered(2))
        await read_some(former)
        mailbox = await second.open_mailbox(BOX, ttl=TTL, create=False)
        former.ack(2, b"too late")
        await former.close(keep=keep)
        assert await read_data(mailbox, 2) == numbered(2)
        assert await first.mailboxes(BOX.group) == [BOX.name]
        await post_all(first, BOX, [b"more"])
        assert await read_some(mailbox) == [(3, b"more")]
        await mailbox.close(keep=True)
        mailbox = await first.open_mailbox(BOX, ttl=TTL, create=False)
        assert mailbox.note == b"note"
        assert await read_data(mailbox, 3) == [*numbered(2), b"more"]
        await mailbox.close(keep=False)


async def test_the_next_reader_begins_with_what_wasnt_acknowledged(ground: Ground) -> None:
    first, second = await ground.handle(), await ground.handle()
    mailbox = await first.open_mailbox(BOX, ttl=TTL, create=True)
    await post_all(second, BOX, numbered(9))
    assert await read_data(mailbox, 6) == numbered(6)
    mailbox.ack(3)
    await mailbox.close(keep=True)
    for bus in (second, first, second):
        mailbox = await bus.open_mailbox(BOX, ttl=TTL, create=False)
        assert [entry.seq for entry in await read_some(mailbox, 1)] == [4]
        assert await read_data(mailbox, 5) == numbered(5, 4)


async def test_the_mailbox_of_a_process_that_died_goes_on_elsewhere(ground: Ground) -> None:
    dying, other = await ground.handle(), await ground.handle()
    mailbox = await dying.open_mailbox(BOX, ttl=TTL, create=True, note=b"note")
    await post_all(other, BOX, numbered(3))
    assert await read_data(mailbox, 3) == numbered(3)
    await ground.kill(dying)
    await post_all(other, BOX, numbered(3, 3))

    mailbox = await other.open_mailbox(BOX, ttl=TTL, create=False)
    assert mailbox.note == b"note"
    assert await read_data(mailbox, 6) == numbered(6)
    await post_all(other, BOX, [b"live"])
    assert await read_some(mailbox) == [(7, b"live")]


async def test_a_closed_mailbox_isnt_read_any_more(ground: Ground) -> None:
    bus = await ground.handle()
    for keep in (False, True):
        mailbox = await bus.open_mailbox(BOX, ttl=TTL, create=True)
        waiting = asyncio.create_task(read_some(mailbox))
        await asyncio.sleep(0)
        await mailbox.close(keep=keep)
        await mailbox.close(keep=keep)
        with pytest.raises(MailboxClosed):
            await waiting
        await bus.post([Post(BOX.group, b"more")])
        with pytest.raises(MailboxClosed):
            await read_some(mailbox)


class Relay:
    """Readers that take one mailbox from each other while others post to it: what each of them read."""

    def __init__(self, handles: list[Bus], seed: int) -> None:
        self.handles = handles
        self.random = random.Random(seed)
        self.read: dict[int, bytes] = {}
        self.takeovers = 0

    def note(self, entries: list[Entry], after: int) -> int:
        """Entries that one reader got after `after`: gives the last. All readers see the same."""
        for seq, data in entries:
            assert seq == after + 1
            assert self.read.setdefault(seq, data) == data
            after = seq
        return after

    async def follow(self, mailbox: Mailbox) -> None:
        """Read until the mailbox is taken, acknowledging now and then."""
        after, acknowledged = None, 0
        while True:
            try:
                entries = await read_some(mailbox, self.random.choice((1, 10, 100)))
            except MailboxTaken:
                return
            if after is None:
                after = entries[0].seq - 1
                assert all(seq in self.read for seq in range(1, entries[0].seq)), "some were overlooked"
            after = self.note(entries, after)
            if self.random.random() < 0.5 and after > acknowledged:
                acknowledged = self.random.randint(acknowledged, after)
                mailbox.ack(acknowledged)

    async def run(self, until: int) -> None:
        readers: set[asyncio.Task[None]] = set()
        async with asyncio.timeout(LIMIT):
            while len(self.read) < until:
                mailbox = await self.random.choice(self.handles).open_mailbox(BOX, ttl=TTL, create=False)
                readers.add(asyncio.create_task(self.follow(mailbox)))
                self.takeovers += 1
                await asyncio.sleep(self.random.random() * 0.02)
        last = await self.handles[0].open_mailbox(BOX, ttl=TTL, create=False)
        await asyncio.gather(*readers)
        await last.close(keep=False)


@pytest.mark.parametrize("seed", range(3))
async def test_nothing_is_lost_and_order_is_kept_whoever_reads(ground: Ground, seed: int) -> None:
    handles = [await ground.handle() for _ in range(3)]
    await handles[0].open_mailbox(BOX, ttl=TTL, create=True)
    relay = Relay(handles, seed)

    async def post(poster: int) -> None:
        for number in range(POSTS):
            assert await handles[poster % 3].post([Post(BOX.group, b"%d %d" % (poster, number), BOX.name)]) == [1]
            if number % 10 == 0:
                await asyncio.sleep(relay.random.random() * 0.01)

    async with asyncio.TaskGroup() as group:
        for poster in range(POSTERS):
            group.create_task(post(poster))
        group.create_task(relay.run(until=POSTERS * POSTS))
    assert relay.takeovers > 1
    assert sorted(relay.read) == list(range(1, POSTERS * POSTS + 1))
    for poster in range(POSTERS):
        posted = [data for _, data in sorted(relay.read.items()) if data.startswith(b"%d " % poster)]
        assert posted == [b"%d %d" % (poster, number) for number in range(POSTS)]
