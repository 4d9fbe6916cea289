"""The server is killed (-9) again and again in the middle of a burst of sends."""

import asyncio
import random
from contextlib import AsyncExitStack

import pytest

from tests.faults.chatter import Chatter, assert_nothing_lost, chatting
from tests.support.cluster import Cluster
from tests.support.proxy import Proxy
from tests.support.register import Register

ROUNDS = 3


async def test_nothing_answered_is_lost_when_the_server_is_killed(mortal: Cluster, register_mortal: Register) -> None:
    """Receivers: one that resumes its session, one that always opens a new one and syncs, one that only looks when all
    is over, and, where there is a second server that lives on, one that is connected there all the time."""
    victim, last = mortal.servers[0], mortal.servers[-1]
    ben = await register_mortal()
    senders = [await register_mortal() for _ in range(6)]
    chatters = [
        Chatter(sender, await sender.befriend(ben), stubborn=number % 2 == 0) for number, sender in enumerate(senders)
    ]
    async with AsyncExitStack() as stack:
        resuming = await stack.enter_async_context(ben.frontend())
        renewing = await stack.enter_async_context(ben.frontend())
        devices = [resuming, renewing]
        if last is not victim:
            devices.append(await stack.enter_async_context(ben.at(last.base).frontend()))
        async with chatting(*chatters):
            for _ in range(ROUNDS):
                await asyncio.gather(*(chatter.progress() for chatter in chatters))
                await asyncio.sleep(random.uniform(0, 0.3))
                victim.kill()
                renewing.forget_session()
                await victim.start()
        assert sum(chatter.broken for chatter in chatters) > 0
        devices.append(await stack.enter_async_context(ben.frontend()))
        await assert_nothing_lost(ben, chatters, devices)
        if last is not victim:
            assert devices[2].closings == []


@pytest.mark.parametrize("_mortal", ["shared"], indirect=True)
async def test_killed_between_the_commit_and_the_notification(mortal: Cluster, register_mortal: Register) -> None:
    """The sender's server is cut off from Redis, so that nobody hears of what it commits; then it dies. A receiver who
    is connected elsewhere all the while gets it at the next heartbeat."""
    victim, other = mortal.servers
    ann, ben = await register_mortal(), await register_mortal(server=1)
    contact_id = await ann.befriend(ben)
    async with Proxy(mortal.redis.port) as to_redis, ben.frontend(heartbeat=0.2) as device:
        victim.kill()
        victim.environ["ICHAT_REDIS_PORT"] = to_redis.base.rpartition(":")[2]
        await victim.start()
        told = await ann.api.send(contact_id, "of this everybody hears")
        await device.wait_for_message(told["messageId"])
        to_redis.freeze()
        untold = [await ann.api.send(contact_id, f"committed {number}") for number in range(3)]
        victim.kill()
        victim.environ["ICHAT_REDIS_PORT"] = str(mortal.redis.port)
        await device.wait_for_message(untold[-1]["messageId"])
        assert device.came == [1, 2, 3, 4]
        assert device.closings == []
        assert [message["text"] for message in await ben.api.history(await ben.contact_id(ann), limit=3)] == [
            message["text"] for message in untold
        ]
    assert other.running


async def test_a_server_that_is_told_to_stop_finishes_what_it_began(mortal: Cluster, register_mortal: Register) -> None:
    victim = mortal.servers[0]
    ann, ben = await register_mortal(), await register_mortal()
    chatter = Chatter(ann, await ann.befriend(ben), stubborn=False)
    async with ben.frontend() as device:
        async with chatting(chatter):
            for _ in range(2):
                await chatter.progress()
                assert await victim.terminate() == 0
                await victim.start()
        await assert_nothing_lost(ben, [chatter], [device])
        assert chatter.refusals == []
