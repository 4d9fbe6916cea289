"""How long mailboxes live, and how much they hold."""

import asyncio

import pytest

from server.bus.interface import Address, Bus, MailboxClosed, MailboxLost, Post
from tests.bus.ground import Ground
from tests.bus.kinds import takes_seconds
from tests.bus.waiting import eventually, now, numbered, post_all, read_data, read_some, until_gone

BOX = Address("user:1", "phone")
OTHER = Address("user:1", "laptop")
LONG = 30.0
SHORT = 1.0
CAPACITY = 20
ROUNDING = 0.01
"""Seconds by which the clocks of a test and of a bus may differ over a second."""


async def _assert_lost(bus: Bus, address: Address) -> None:
    assert await bus.post([Post(address.group, b"more", address.name)]) == [0]
    with pytest.raises(MailboxLost):
        await bus.open_mailbox(address, ttl=LONG, create=False)


@takes_seconds
async def test_a_kept_mailbox_collects_for_its_time_to_live(ground: Ground) -> None:
    bus, other = await ground.handle(), await ground.handle()
    mailbox = await bus.open_mailbox(BOX, ttl=SHORT, create=True)
    await post_all(other, BOX, [b"before"])
    closed_at = now()
    await mailbox.close(keep=True)
    await post_all(other, BOX, [b"after"])

    mailbox = await other.open_mailbox(BOX, ttl=LONG, create=False)
    assert await read_data(mailbox, 2) == [b"before", b"after"]
    closed_at = now()
    await mailbox.close(keep=True)
    await post_all(other, BOX, [b"doesn't let it live longer"])
    await until_gone(bus, BOX)
    assert now() - closed_at >= SHORT - ROUNDING  # the time to live is that of whoever made it
    await _assert_lost(bus, BOX)
    assert (await bus.open_mailbox(BOX, ttl=LONG, create=True)).fresh


@takes_seconds
async def test_the_mailboxes_of_a_process_outlive_it_for_their_time_to_live(ground: Ground) -> None:
    closing, dying, other = [await ground.handle() for _ in range(3)]
    await closing.open_mailbox(BOX, ttl=SHORT, create=True)
    await dying.open_mailbox(OTHER, ttl=SHORT, create=True)
    ended_at = now()
    await asyncio.gather(closing.close(), ground.kill(dying))
    assert await other.post([Post(BOX.group, b"kept")]) == [2]
    await until_gone(other, BOX)
    assert now() - ended_at >= SHORT - ROUNDING
    await until_gone(other, OTHER)
    assert now() - ended_at >= SHORT - ROUNDING
    await _assert_lost(other, BOX)
    await _assert_lost(other, OTHER)


@takes_seconds
async def test_a_mailbox_lives_as_long_as_the_process_of_its_reader(ground: Ground) -> None:
    """Even if nobody posts and nobody reads."""
    bus = await ground.handle()
    marker, outlived = Address("user:9", "marker"), 2 * SHORT + 0.7
    mailbox = await bus.open_mailbox(BOX, ttl=1.5 * SHORT, create=True)
    await post_all(bus, BOX, [b"early"])
    await (await bus.open_mailbox(marker, ttl=outlived, create=True)).close(keep=True)
    await until_gone(bus, marker)
    await post_all(bus, BOX, [b"late"])
    assert await read_data(mailbox, 2) == [b"early", b"late"]
    assert not (await bus.open_mailbox(BOX, ttl=SHORT, create=True)).fresh


async def test_a_mailbox_closed_for_good_is_gone(ground: Ground) -> None:
    bus, other = await ground.handle(), await ground.handle()
    mailbox = await bus.open_mailbox(BOX, ttl=LONG, create=True, note=b"old")
    await post_all(other, BOX, numbered(3))
    await mailbox.close(keep=False)
    assert await other.mailboxes(BOX.group) == []
    await _assert_lost(other, BOX)

    mailbox = await other.open_mailbox(BOX, ttl=LONG, create=True, note=b"new")
    assert mailbox.fresh
    assert mailbox.note == b"new"
    await post_all(bus, BOX, [b"first"])
    assert await read_some(mailbox) == [(1, b"first")]


async def test_one_entry_too_many_loses_the_mailbox(ground: Ground) -> None:
    bus, other = await ground.handle(), await ground.handle()
    mailbox = await bus.open_mailbox(BOX, ttl=LONG, create=True, capacity=CAPACITY)
    bystander = await bus.open_mailbox(OTHER, ttl=LONG, create=True)
    await post_all(other, BOX, numbered(CAPACITY))
    assert await read_data(mailbox, CAPACITY) == numbered(CAPACITY)
    waiting = asyncio.create_task(read_some(mailbox))
    await asyncio.sleep(0)
    assert await other.post([Post(BOX.group, b"too many"), Post(BOX.group, b"another")]) == [1, 1]
    with pytest.raises(MailboxLost):
        await waiting
    with pytest.raises(MailboxLost):
        await read_some(mailbox)
    await _assert_lost(other, BOX)
    assert await other.mailboxes(BOX.group) == [OTHER.name]
    assert await read_data(bystander, 2) == [b"too many", b"another"]
    await mailbox.close(keep=True)

    again = await bus.open_mailbox(BOX, ttl=LONG, create=True)
    assert again.fresh
    await post_all(other, BOX, [b"first"])
    assert await read_some(again) == [(1, b"first")]


async def test_a_kept_mailbox_overflows_as_well(ground: Ground) -> None:
    bus = await ground.handle()
    await (await bus.open_mailbox(BOX, ttl=LONG, create=True, capacity=CAPACITY)).close(keep=True)
    await post_all(bus, BOX, numbered(CAPACITY))
    assert await bus.post([Post(BOX.group, b"too many")]) == [0]
    await _assert_lost(bus, BOX)


async def test_what_was_acknowledged_takes_no_room(ground: Ground) -> None:
    first, second = await ground.handle(), await ground.handle()
    mailbox = await first.open_mailbox(BOX, ttl=LONG, create=True, capacity=CAPACITY)
    for part in range(5):
        await post_all(second, BOX, numbered(CAPACITY - 3, part * CAPACITY))
        entries = [await read_some(mailbox, 1) for _ in range(CAPACITY - 3)]
        mailbox.ack(entries[-1][0].seq)
        await mailbox.close(keep=True)
        mailbox = await (first if part % 2 else second).open_mailbox(BOX, ttl=LONG, create=False, capacity=1)


async def test_acknowledgements_make_room_while_the_mailbox_is_open(ground: Ground) -> None:
    reading, posting = await ground.handle(), await ground.handle()
    mailbox = await reading.open_mailbox(BOX, ttl=LONG, create=True, capacity=CAPACITY)
    for start in range(0, 4 * CAPACITY, CAPACITY // 2):
        await post_all(posting, BOX, numbered(CAPACITY // 2, start))
        assert await read_data(mailbox, CAPACITY // 2) == numbered(CAPACITY // 2, start)
        mailbox.ack(start + CAPACITY // 2)
        mailbox.ack(0, b"a bookmark doesn't wait, and takes the other along")


async def test_closing_a_handle_ends_its_readers(ground: Ground) -> None:
    bus = await ground.handle()
    mailboxes = [await bus.open_mailbox(Address("user:1", name), ttl=LONG, create=True) for name in "abc"]
    waiting = [asyncio.create_task(read_some(mailbox)) for mailbox in mailboxes]
    await asyncio.sleep(0)
    await bus.close()
    await bus.close()
    await eventually(lambda: all(task.done() for task in waiting))
    for task in waiting:
        with pytest.raises(MailboxClosed):
            await task
