"""The server is killed (-9) again and again in the middle of a burst of sends."""

import asyncio
import random
from contextlib import AsyncExitStack

from tests.faults.chatter import Chatter, assert_nothing_lost, chatting
from tests.support.cluster import Cluster
from tests.support.register import Register

ROUNDS = 5


async def test_nothing_answered_is_lost_when_the_server_is_killed(own_cluster: Cluster, register_own: Register) -> None:
    """Receivers: one that resumes its session, one that always opens a new one and syncs, one that only looks when all
    is over, and, where there is a second server that lives on, one that is connected there all the time."""
    victim, last = own_cluster.servers[0], own_cluster.servers[-1]
    ben = await register_own()
    senders = [await register_own() for _ in range(6)]
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


async def test_a_server_that_is_told_to_stop_finishes_what_it_began(
    own_cluster: Cluster, register_own: Register
) -> None:
    victim = own_cluster.servers[0]
    ann, ben = await register_own(), await register_own()
    chatter = Chatter(ann, await ann.befriend(ben), stubborn=False)
    async with ben.frontend() as device:
        async with chatting(chatter):
            for _ in range(3):
                await chatter.progress()
                assert await victim.terminate() == 0
                await victim.start()
        await assert_nothing_lost(ben, [chatter], [device])
        assert chatter.refusals == []
