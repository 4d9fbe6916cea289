"""Mailboxes: who gets what was posted, and in which order."""

import asyncio

import pytest

from server.bus.interface import Address, Entry, MailboxLost, Post
from tests.bus.ground import Ground
from tests.bus.waiting import eventually, numbered, post_all, read_data, read_some

BOX = Address("user:1", "phone")
TTL = 30.0


async def test_a_reader_that_waits_gets_what_another_process_posts(ground: Ground) -> None:
    reading, posting = await ground.handle(), await ground.handle()
    mailbox = await reading.open_mailbox(BOX, ttl=TTL, create=True)
    assert mailbox.address == BOX

    for number in range(1, 6):
        read = asyncio.create_task(read_some(mailbox))
        await asyncio.sleep(0)  # it waits now
        assert await posting.post([Post(BOX.group, b"%d" % number)]) == [1]
        assert await read == [(number, b"%d" % number)]


async def test_what_was_posted_before_comes_in_order_and_in_parts_of_the_limit(ground: Ground) -> None:
    reading, posting = await ground.handle(), await ground.handle()
    mailbox = await reading.open_mailbox(BOX, ttl=TTL, create=True)
    assert await posting.post([Post(BOX.group, data) for data in numbered(700)]) == [1] * 700

    read: list[Entry] = []
    while len(read) < 700:
        part = await read_some(mailbox, 90)
        assert 1 <= len(part) <= 90
        read += part
    assert read == [(number + 1, b"%d" % number) for number in range(700)]


async def test_any_data_comes_as_it_was_posted(ground: Ground) -> None:
    reading, posting = await ground.handle(), await ground.handle()
    mailbox = await reading.open_mailbox(BOX, ttl=TTL, create=True)
    large = [b"x" * 20_000, b"y" * 1_000_000, b"z" * 16_384]
    data = [b"", bytes(range(256)), b"small", *large, b"\n1 2 3\n", b"\0", b"end"]
    await post_all(posting, BOX, data)
    assert await posting.post([Post(BOX.group, one) for one in data]) == [1] * len(data)
    assert await read_data(mailbox, 2 * len(data)) == 2 * data


async def test_a_post_is_for_one_name_or_for_all_of_the_group(ground: Ground) -> None:
    first, second = await ground.handle(), await ground.handle()
    phone = await first.open_mailbox(BOX, ttl=TTL, create=True)
    laptop = await second.open_mailbox(Address("user:1", "laptop"), ttl=TTL, create=True)
    other = await second.open_mailbox(Address("user:2", "phone"), ttl=TTL, create=True)

    taken = await first.post(
        [
            Post("user:1", b"for both"),
            Post("user:2", b"for another"),
            Post("user:1", b"for one", "phone"),
            Post("user:1", b"for nobody", "tablet"),
            Post("user:3", b"for nobody"),
            Post("user:1", b"for both again"),
        ]
    )
    assert taken == [2, 1, 1, 0, 0, 2]
    assert await first.post([]) == []
    assert await read_data(phone, 3) == [b"for both", b"for one", b"for both again"]
    assert await read_data(laptop, 2) == [b"for both", b"for both again"]
    assert await read_data(other, 1) == [b"for another"]


async def test_the_names_of_a_group(ground: Ground) -> None:
    first, second = await ground.handle(), await ground.handle()
    assert await first.mailboxes("user:1") == []
    phone = await first.open_mailbox(BOX, ttl=TTL, create=True)
    laptop = await second.open_mailbox(Address("user:1", "laptop"), ttl=TTL, create=True)
    await second.open_mailbox(Address("user:2", "tablet"), ttl=TTL, create=True)
    assert sorted(await first.mailboxes("user:1")) == ["laptop", "phone"]

    await laptop.close(keep=True)
    await phone.close(keep=False)
    assert await first.mailboxes("user:1") == ["laptop"]


async def test_only_the_opening_that_made_it_is_fresh(ground: Ground) -> None:
    first, second = await ground.handle(), await ground.handle()
    with pytest.raises(MailboxLost):
        await first.open_mailbox(BOX, ttl=TTL, create=False)
    assert await first.mailboxes(BOX.group) == []
    assert (await first.open_mailbox(BOX, ttl=TTL, create=True)).fresh
    assert not (await second.open_mailbox(BOX, ttl=TTL, create=True)).fresh
    again = await first.open_mailbox(BOX, ttl=TTL, create=False)
    assert not again.fresh
    await again.close(keep=False)
    assert (await second.open_mailbox(BOX, ttl=TTL, create=True)).fresh


async def test_all_mailboxes_of_a_group_have_the_same_order_and_each_poster_its_own(ground: Ground) -> None:
    posters = [await ground.handle() for _ in range(4)]
    mailboxes = [
        await bus.open_mailbox(Address("call:1", f"seat-{number}"), ttl=TTL, create=True)
        for number, bus in enumerate(posters[:2])
    ]

    async def post(poster: int) -> None:
        for number in range(60):
            assert await posters[poster].post([Post("call:1", b"%d %d" % (poster, number))]) == [2]

    await asyncio.gather(*map(post, range(4)))
    first, second = [await read_data(mailbox, 240) for mailbox in mailboxes]
    assert first == second
    for poster in range(4):
        assert [data for data in first if data.startswith(b"%d " % poster)] == [
            b"%d %d" % (poster, number) for number in range(60)
        ]


async def test_posts_that_a_caller_makes_without_waiting_all_arrive(ground: Ground) -> None:
    reading, posting = await ground.handle(), await ground.handle()
    mailbox = await reading.open_mailbox(BOX, ttl=TTL, create=True)
    taken = await asyncio.gather(*(posting.post([Post(BOX.group, data)]) for data in numbered(300)))
    assert taken == [[1]] * 300
    assert sorted(await read_data(mailbox, 300)) == sorted(numbered(300))


async def test_nothing_that_comes_while_a_mailbox_is_opened_is_overlooked(ground: Ground) -> None:
    """Its first reader learns of a post at once, not only when the mailbox is looked after the next time."""
    reading, posting = await ground.handle(), await ground.handle()
    for round_ in range(30):
        address = Address(f"user:{round_}", "phone")

        async def post_as_soon_as_possible(group: str = address.group) -> int:
            posts = 0
            while await posting.post([Post(group, b"%d" % posts)]) == [0]:
                await asyncio.sleep(0)
            return posts

        poster = asyncio.create_task(post_as_soon_as_possible())
        mailbox = await reading.open_mailbox(address, ttl=3600.0, create=True)
        async with asyncio.timeout(10):
            assert await mailbox.read() == [(1, b"0")]
        assert await poster == 0


async def test_a_read_that_is_cancelled_takes_nothing_with_it(ground: Ground) -> None:
    bus = await ground.handle()
    await (await bus.open_mailbox(BOX, ttl=TTL, create=True)).close(keep=True)
    await post_all(bus, BOX, numbered(3))
    for steps in range(40):
        mailbox = await bus.open_mailbox(BOX, ttl=TTL, create=False)
        read = asyncio.create_task(mailbox.read(1))
        for _ in range(steps):
            await asyncio.sleep(0)
        read.cancel()
        await asyncio.wait({read})
        first = [] if read.cancelled() else [entry.data for entry in read.result()]
        assert first + await read_data(mailbox, 3 - len(first)) == numbered(3)


async def test_what_was_acknowledged_isnt_read_again(ground: Ground) -> None:
    first, second = await ground.handle(), await ground.handle()
    mailbox = await first.open_mailbox(BOX, ttl=TTL, create=True)
    for part in range(10):
        await post_all(first, BOX, numbered(10, part * 10))
        entries = [entry for entry in await read_some(mailbox) if entry.seq > 0]
        while entries[-1].seq < (part + 1) * 10:
            entries += await read_some(mailbox)
        assert [entry.data for entry in entries] == numbered(15 if part else 10, part * 10 - (5 if part else 0))
        mailbox.ack(entries[-6].seq)  # five stay
        await mailbox.close(keep=True)
        mailbox = await (second if part % 2 else first).open_mailbox(BOX, ttl=TTL, create=False)


async def test_the_note_is_there_for_the_next_reader(ground: Ground) -> None:
    first, second = await ground.handle(), await ground.handle()
    mailbox = await first.open_mailbox(BOX, ttl=TTL, create=True, note=b"the first")
    assert mailbox.note == b"the first"
    await mailbox.close(keep=True)

    mailbox = await second.open_mailbox(BOX, ttl=TTL, create=True, note=b"not made now")
    assert mailbox.note == b"the first"
    await post_all(first, BOX, [b"one", b"two"])
    assert await read_data(mailbox, 2) == [b"one", b"two"]
    mailbox.ack(0, b"only noted \0")
    await mailbox.close(keep=True)

    mailbox = await first.open_mailbox(BOX, ttl=TTL, create=False)
    assert mailbox.note == b"only noted \0"
    assert await read_data(mailbox, 2) == [b"one", b"two"]
    mailbox.ack(1, b"one is done")
    mailbox.ack(2)  # leaves the note alone
    await mailbox.close(keep=True)

    mailbox = await second.open_mailbox(BOX, ttl=TTL, create=False)
    assert mailbox.note == b"one is done"
    await post_all(first, BOX, [b"three"])
    assert await read_some(mailbox) == [(3, b"three")]


async def test_a_reader_of_several_mailboxes_is_woken_in_the_right_one(ground: Ground) -> None:
    reading, posting = await ground.handle(), await ground.handle()
    addresses = [Address(f"user:{number % 10}", f"device-{number}") for number in range(50)]
    mailboxes = [await reading.open_mailbox(address, ttl=TTL, create=True) for address in addresses]
    reads = [asyncio.create_task(read_some(mailbox)) for mailbox in mailboxes]
    for number in (17, 3, 42):
        await post_all(posting, addresses[number], [b"%d" % number])
        await eventually(reads[number].done)
        assert await reads[number] == [(1, b"%d" % number)]
    assert sum(read.done() for read in reads) == 3
    for number, address in enumerate(addresses):
        await post_all(posting, address, [b"again"])
        assert (await reads[number])[-1].data == b"again" if number not in (17, 3, 42) else True
