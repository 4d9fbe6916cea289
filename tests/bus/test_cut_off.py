"""A process that is cut off from the bus while the others go on."""

import asyncio

import pytest

from server.bus.interface import Address, BusUnavailable, Lease, MailboxLost, MailboxTaken
from tests.bus.ground import PATIENCE, Ground
from tests.bus.kinds import can_be_cut_off
from tests.bus.operations import assert_all_available
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
    until_gone,
)

pytestmark = can_be_cut_off

TIMEOUT = 1.0
LONG = 60.0
SHORT = 1.0
BOX = Address("user:1", "phone")
GROUP = "call:1"
BUSY = 5.0
"""Seconds that a busy machine may add to anything."""


async def test_what_runs_out_meanwhile_is_lost_and_can_be_another_s(ground: Ground) -> None:
    (cut_off, line), other = await ground.handle_with_line(TIMEOUT), await ground.handle()
    told = asyncio.Event()

    async def tell(_group: str) -> None:
        told.set()

    other.on_lease_expired("call:", tell)
    former = await cut_off.acquire(GROUP, SHORT)
    assert former is not None
    mailbox = await cut_off.open_mailbox(BOX, ttl=SHORT, create=True)
    reading = asyncio.create_task(read_some(mailbox))
    since = now()
    line.cut()

    await asyncio.wait_for(former.wait_lost(), SHORT + BUSY)
    assert now() - since < SHORT + 0.5 + BUSY
    assert not former.held
    assert not await former.put("state", b"of the former", LONG)
    await asyncio.wait_for(told.wait(), LIMIT)
    lease = await other.acquire(GROUP, LONG)
    assert lease is not None
    assert lease.fence > former.fence
    assert await lease.put("state", b"of the next", LONG)
    await until_gone(other, BOX)

    await line.mend()
    await until_available(cut_off)
    with pytest.raises(MailboxLost):
        await reading
    await former.release()
    assert lease.held
    assert await lease.put("later", b"1", LONG)
    assert await other.get(GROUP, "state") == b"of the next"
    assert await other.acquire(GROUP, LONG) is None
    await assert_all_available(cut_off)


async def test_a_lease_is_lost_before_another_can_have_it(ground: Ground) -> None:
    """Even while the answer to its last renewal may still come."""
    (cut_off, line), other = await ground.handle_with_line(PATIENCE), await ground.handle()
    former = await cut_off.acquire(GROUP, SHORT)
    assert former is not None
    line.cut()
    lost = asyncio.create_task(former.wait_lost())
    lease: Lease | None = None
    async with asyncio.timeout(LIMIT):
        while lease is None:
            lease = await other.acquire(GROUP, LONG)
            assert lease is None or not former.held
            await asyncio.sleep(0)
        since = now()
        await lost
    assert now() - since < BUSY < PATIENCE
    await line.mend()


async def test_what_doesnt_run_out_meanwhile_goes_on(ground: Ground) -> None:
    (cut_off, line), other = await ground.handle_with_line(TIMEOUT), await ground.handle()
    disrupted = asyncio.Event()
    cut_off.on_disruption(disrupted.set)
    lease = await cut_off.acquire(GROUP, LONG)
    assert lease is not None
    fence = lease.fence
    mailbox = await cut_off.open_mailbox(BOX, ttl=LONG, create=True)
    await post_all(other, BOX, numbered(2))
    assert await read_data(mailbox, 1) == numbered(1)
    line.cut()
    reading = asyncio.create_task(read_data(mailbox, 5))
    await post_all(other, BOX, numbered(4, 2))
    with pytest.raises(BusUnavailable):
        await cut_off.ping()
    with pytest.raises(BusUnavailable):
        await lease.put("state", b"1", LONG)
    assert lease.held

    disrupted.clear()
    await line.mend()
    assert await reading == numbered(5, 1)
    await asyncio.wait_for(disrupted.wait(), LIMIT)
    assert (lease.held, lease.fence) == (True, fence)
    assert await lease.put("state", b"2", LONG)
    assert await other.acquire(GROUP, LONG) is None
    await assert_all_available(cut_off)


async def test_a_mailbox_can_be_taken_over_from_who_is_cut_off(ground: Ground) -> None:
    (cut_off, line), other = await ground.handle_with_line(TIMEOUT), await ground.handle()
    former = await cut_off.open_mailbox(BOX, ttl=LONG, create=True)
    reading = asyncio.create_task(read_some(former))
    line.cut()
    await post_all(other, BOX, numbered(3))
    mailbox = await other.open_mailbox(BOX, ttl=LONG, create=False)
    assert await read_data(mailbox, 3) == numbered(3)
    former.ack(3, b"not its own")
    await line.mend()
    with pytest.raises(MailboxTaken):
        await reading
    await former.close(keep=False)
    await post_all(other, BOX, [b"more"])
    assert await read_some(mailbox) == [(4, b"more")]


async def test_what_is_given_up_while_cut_off_raises_nothing(ground: Ground) -> None:
    (cut_off, line), other = await ground.handle_with_line(TIMEOUT), await ground.handle()
    lease = await cut_off.acquire(GROUP, SHORT)
    assert lease is not None
    mailbox = await cut_off.open_mailbox(BOX, ttl=SHORT, create=True)
    await cut_off.open_mailbox(Address("user:1", "laptop"), ttl=SHORT, create=True)
    line.cut()
    await mailbox.close(keep=False)
    await lease.release()
    await cut_off.close()
    await eventually(lambda: not lease.held)

    async def free() -> bool:
        return await other.acquire(GROUP, LONG) is not None

    await asked_until(free)
    await until_gone(other, BOX)
