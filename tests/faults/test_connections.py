"""Connections that break, half break, and come back, while messages come in."""

import asyncio
import random
from contextlib import AsyncExitStack

import aiohttp
import pytest

from tests.faults.chatter import Chatter, assert_nothing_lost, chatting
from tests.faults.observe import open_sockets
from tests.support.account import Account
from tests.support.cluster import Cluster
from tests.support.notification import Kind, NotificationSocket, SocketClosed
from tests.support.proxy import Proxy
from tests.support.register import Register


async def test_sockets_that_break_and_resume_every_second_under_load(register: Register, cluster: Cluster) -> None:
    ben = await register()
    senders = [await register(server=number) for number in range(4)]
    chatters = [Chatter(sender, await sender.befriend(ben), pause=0.005) for sender in senders]
    async with AsyncExitStack() as stack:
        bases = [cluster.bases[number % len(cluster.bases)] for number in range(6)]
        devices = [await stack.enter_async_context(ben.at(base).frontend(retry=0.02)) for base in bases]
        async with chatting(*chatters):
            for _ in range(8):
                for device in devices:
                    await asyncio.sleep(random.uniform(0, 0.3))
                    await device.drop()
        await assert_nothing_lost(ben, chatters, devices)
        resumed = [opening.resumed for device in devices for opening in device.openings[1:]]
        assert len(resumed) >= 4 * len(devices)  # some were dropped while they were coming back
        assert all(resumed)


async def test_a_session_that_moves_between_servers_with_every_break(register: Register, cluster: Cluster) -> None:
    ann, ben = await register(), await register()
    chatter = Chatter(ann, await ann.befriend(ben), pause=0.002)
    async with ben.frontend(retry=0.0) as device:
        async with chatting(chatter):
            for number in range(20):
                await chatter.progress(3)
                device.api = ben.api.at(cluster.bases[number % len(cluster.bases)])
                await device.drop()
        await assert_nothing_lost(ben, [chatter], [device])


async def test_what_is_sent_while_a_socket_closes_comes_with_the_resume(register: Register) -> None:
    """No moment loses a message: not before, in, nor in the hundred milliseconds after the close, whether the client
    is back by then or not."""
    ann, ben = await register(), await register(server=1)
    contact_id = await ann.befriend(ben)
    async with ben.frontend(retry=0.0) as device:
        sent: set[str] = set()

        async def send(text: str, delay: float) -> None:
            await asyncio.sleep(delay)
            await ann.api.send(contact_id, text)
            sent.add(text)

        for number in range(30):
            device.retry = random.choice((0.0, 0.1))
            async with asyncio.TaskGroup() as group:
                for name, delay in (("before", 0.0), ("in", 0.01), ("after", 0.01 + random.uniform(0, 0.1))):
                    group.create_task(send(f"{name} {number}", delay))
                await asyncio.sleep(0.01)
                await device.drop()
        await device.wait_for_texts(sent)
        assert len(sent) == 90
        assert all(opening.resumed for opening in device.openings[1:])


async def test_two_sockets_fight_for_one_session(register: Register, cluster: Cluster) -> None:
    """Whoever came last has it; together they have seen everything, in order."""
    ann, ben = await register(), await register()
    chatter = Chatter(ann, await ann.befriend(ben), pause=0.002)
    socket = await ben.api.connect()
    session_id = (await socket.opening()).session_id
    seen: set[str] = set()
    async with chatting(chatter):
        for number in range(20):
            await _read_some(socket, seen)
            other = await ben.api.at(cluster.bases[number % len(cluster.bases)]).connect(session_id)
            assert (await other.opening()).resumed
            await _read_to_its_end(socket, seen)
            socket = other
    while not chatter.acknowledged <= seen:
        await _read_some(socket, seen)
    await socket.close()


async def _read_some(socket: NotificationSocket, seen: set[str]) -> None:
    notification = await socket.notification()
    if notification.kind is Kind.MESSAGE:
        seen.add(notification.payload["text"])


async def _read_to_its_end(socket: NotificationSocket, seen: set[str]) -> None:
    with pytest.raises(SocketClosed):
        async with asyncio.timeout(30):
            while True:
                await _read_some(socket, seen)


async def test_a_half_open_connection_is_noticed_and_its_session_waits(
    impatient: Cluster, register_impatient: Register, http: aiohttp.ClientSession
) -> None:
    """The network swallows everything and tells nobody. The server lets go of such a connection by itself, and
    what was written into it comes again."""
    ann, ben = await register_impatient(), await register_impatient(server=1)
    contact_id = await ann.befriend(ben)
    async with Proxy(impatient.servers[-1].port) as proxy:
        behind = Account(ben.api.at(proxy.base), ben.user_id, ben.username)
        socket = await behind.api.connect()
        session_id = (await socket.opening()).session_id
        assert await open_sockets(http, impatient.bases[-1]) == 1
        proxy.freeze()
        sent = [await ann.api.send(contact_id, f"into the void {number}") for number in range(5)]
        async with asyncio.timeout(30):
            while await open_sockets(http, impatient.bases[-1]) > 0:
                await asyncio.sleep(0.1)
        again = await ben.api.connect(session_id)
        assert (await again.opening()).resumed
        came = [(await again.notification()).payload["messageId"] for _ in sent]
        assert came == [message["messageId"] for message in sent]
        await again.close()
