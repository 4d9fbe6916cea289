"""Redis is emptied, restarted and stalled while people chat on two servers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import aiohttp
import pytest

from tests.faults.chatter import Chatter, assert_nothing_lost, chatting
from tests.support.account import PASSWORD, Account
from tests.support.api import Api
from tests.support.cluster import Cluster
from tests.support.frontend import FrontendClient
from tests.support.notification import PATIENCE
from tests.support.register import Register

pytestmark = pytest.mark.parametrize("_mortal", ["shared"], indirect=True)

ANSWER_LIMIT = 5.0
"""Seconds for any answer while Redis is in trouble."""


class Scene:
    """Ann on one server sends to Ben, who has a device on each."""

    def __init__(self, register: Register, ben: Account, chatter: Chatter, devices: list[FrontendClient]) -> None:
        self.chatter = chatter
        self._register = register
        self._ben = ben
        self._devices = devices
        self._requests: set[int] = set()
        self._contacts: set[int] = set()

    async def meet(self) -> None:
        """A stranger becomes Ben's contact, another asks to: nobody's message tells of that."""
        asked = await (await self._register()).api.ask(self._ben.user_id)
        self._requests.add(asked["id"])
        self._contacts.add(await self._ben.befriend(await self._register(server=1)))

    async def assert_met(self) -> None:
        for device in self._devices:
            await device.wait_until(partial(self._knows_all, device), "contacts and requests")

    def _knows_all(self, device: FrontendClient) -> bool:
        return self._requests <= device.requests.keys() and self._contacts <= device.contacts.keys()


@asynccontextmanager
async def conversation(register: Register, cluster: Cluster) -> AsyncIterator[Scene]:
    """Afterwards all of it must have reached the devices, none of which lost its connection or sent a heartbeat, and
    nobody was logged out."""
    ann, ben = await register(), await register(server=1)
    chatter = Chatter(ann, await ann.befriend(ben), pause=0.01)
    async with AsyncExitStack() as stack:
        devices = [await stack.enter_async_context(ben.at(base).frontend()) for base in cluster.bases]
        async with chatting(chatter):
            await chatter.progress(20)
            scene = Scene(register, ben, chatter, devices)
            yield scene
            await chatter.progress(20)
        await assert_nothing_lost(ben, [chatter], devices)
        await scene.assert_met()
        assert chatter.refusals == []
        assert chatter.broken == 0
        assert chatter.slowest < ANSWER_LIMIT
        assert [device.closings for device in devices] == [[], []]


async def test_flushed_while_it_runs(mortal: Cluster, register_mortal: Register) -> None:
    async with conversation(register_mortal, mortal) as scene:
        for _ in range(5):
            mortal.redis.flush()
            await scene.meet()
            await scene.chatter.progress(20)


async def test_restarted_empty(mortal: Cluster, register_mortal: Register) -> None:
    async with conversation(register_mortal, mortal) as scene:
        for _ in range(2):
            await asyncio.to_thread(mortal.redis.kill)
            await scene.meet()
            await scene.chatter.progress(20)
            await asyncio.to_thread(mortal.redis.start)
            await scene.chatter.progress(20)


async def test_stalled_for_10_seconds(mortal: Cluster, register_mortal: Register) -> None:
    async with conversation(register_mortal, mortal) as scene:
        mortal.redis.stall()
        stall = asyncio.create_task(asyncio.sleep(10))
        await scene.meet()
        await stall
        mortal.redis.resume()
        await scene.chatter.progress(20)


async def test_everything_but_speed_is_there_without_redis(
    mortal: Cluster, register_mortal: Register, http: aiohttp.ClientSession
) -> None:
    """Logins, old and new, work; who connects meanwhile has a session once Redis is back."""
    ann, ben = await register_mortal(), await register_mortal(server=1)
    contact_id = await ann.befriend(ben)
    await asyncio.to_thread(mortal.redis.kill)
    for base in mortal.bases:
        async with http.get(f"{base}/healthz") as alive, http.get(f"{base}/readyz") as ready:
            assert (alive.status, ready.status) == (200, 503)
        login = await Api(http, base).login(ann.username, PASSWORD)
        sent = await ann.api.at(base).with_token(login.token).send(contact_id, f"through {base}")
        assert (await ben.api.history(await ben.contact_id(ann), limit=1))[0]["messageId"] == sent["messageId"]
    device = ben.frontend()
    async with asyncio.TaskGroup() as group:
        group.create_task(_start_once_refused(mortal, device))
        async with device:
            await device.wait_for_message(sent["messageId"])


async def _start_once_refused(cluster: Cluster, device: FrontendClient) -> None:
    async with asyncio.timeout(PATIENCE):
        while not device.closings:
            await asyncio.sleep(0.02)
    await asyncio.to_thread(cluster.redis.start)
