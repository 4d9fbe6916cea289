"""Redis is emptied, restarted, stalled and away while people are in a call on two servers."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import aiohttp
import pytest

from tests.e2e.shapes import refused
from tests.faults.talk import Talk, talking
from tests.support.api import Refused
from tests.support.call import CallsApi, Reason, State, Status
from tests.support.call_page import CallPage, wait_for_status
from tests.support.calling import Room, assert_healthy, group, pages, pair
from tests.support.cluster import Cluster, open_cluster
from tests.support.mariadb import MariaDb
from tests.support.register import Register, register_with

BEAT = 1.0
SETTINGS = {"ICHAT_CALLS_HEARTBEAT_TIMEOUT": "5", "ICHAT_CALLS_ANSWER": "3"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, mariadb: MariaDb) -> Iterator[Cluster]:
    """One for all tests of this module, with a Redis of its own; each leaves it healthy."""
    with open_cluster("shared", tmp_path_factory.mktemp("calls"), settings=SETTINGS, mariadb=mariadb) as cluster:
        yield cluster


@pytest.fixture
async def cluster(shared: Cluster) -> AsyncIterator[Cluster]:
    yield shared
    await asyncio.to_thread(shared.redis.restart_empty)  # whatever a test that failed has left
    await shared.start()


@pytest.fixture
def register(cluster: Cluster, http: aiohttp.ClientSession) -> Register:
    return register_with(cluster, http)


@dataclass(frozen=True, slots=True)
class Scene:
    """Three in a call talk; a fourth is not in it."""

    room: Room
    call_id: int
    pages: list[CallPage]
    talk: Talk


@asynccontextmanager
async def conversation(register: Register, cluster: Cluster) -> AsyncIterator[Scene]:
    """Afterwards everybody has heard everything without having lost the connection, the call goes on with its people
    reserved, all of it is as it should be, and it ends as ever."""
    room = await group(register, 4)
    *members, stranger = room.people
    call_id = await room.ready_call(*members)
    async with pages(call_id, *members, heartbeat=BEAT) as opened:
        async with talking(*opened) as talk:
            yield Scene(room, call_id, opened, talk)
            await talk.progress()
        for page in opened:
            for other in opened:
                if other is not page:
                    await talk.assert_all_heard(page, other)
            assert page.closings == []
            assert set(page.states.values()) == {State.ONLINE}
        with refused(3007):
            await room.call(stranger, *members)
        await assert_healthy(cluster)
        for page in opened[:2]:
            await page.hang_up()
        assert await opened[2].wait_over() is Reason.NORMAL
    assert (await CallsApi(members[0].api).get(call_id))["endReason"] == Reason.NORMAL
    await assert_healthy(cluster)
    again = await room.ready_call(*members)
    await CallsApi(members[0].api).hang_up(again)


async def test_flushed_while_it_runs(cluster: Cluster, register: Register) -> None:
    async with conversation(register, cluster) as scene:
        for _ in range(3):
            cluster.redis.flush()
            await scene.talk.progress()


async def test_restarted_empty(cluster: Cluster, register: Register) -> None:
    async with conversation(register, cluster) as scene:
        for _ in range(2):
            await asyncio.to_thread(cluster.redis.kill)
            await asyncio.sleep(1)
            await asyncio.to_thread(cluster.redis.start)
            await scene.talk.progress()


async def test_stalled_for_10_seconds(cluster: Cluster, register: Register) -> None:
    async with conversation(register, cluster) as scene:
        cluster.redis.stall()
        await asyncio.sleep(10)
        cluster.redis.resume()
        await scene.talk.progress()


async def test_away_for_longer_than_a_user_may_be_silent(cluster: Cluster, register: Register) -> None:
    """Heartbeats are heard all the time, only nobody can be told of them: so nobody is lost for that."""
    room = await pair(register)
    call_id = await room.ready_call(*room.people)
    async with pages(call_id, *room.people, heartbeat=BEAT) as (anns, bens):
        async with talking(anns, bens) as talk:
            await asyncio.to_thread(cluster.redis.kill)
            await asyncio.sleep(7)
            await asyncio.to_thread(cluster.redis.start)
            await talk.progress()
        await anns.hang_up()
        assert await bens.wait_over() is Reason.NORMAL
    await assert_healthy(cluster)


async def test_the_owner_is_killed_and_redis_forgets(cluster: Cluster, register: Register) -> None:
    """What is left is the database, and the sockets of the other process."""
    victim, survivor = cluster.servers
    ann, ben, cleo = await register(), await register(server=1), await register(server=1)
    await ann.api.make_group("friends", [await ann.befriend(other) for other in (ben, cleo)])
    contact = await ann.group_contact("friends")
    call_id = await CallsApi(ann.api).create(contact["contactId"], [ben.user_id, cleo.user_id])
    async with pages(call_id, ann, ben, cleo, heartbeat=BEAT) as (anns, bens, cleos):
        async with talking(anns, bens, cleos) as talk:
            anns.api = ann.api.at(survivor.base)
            victim.kill()
            cluster.redis.flush()
            await anns.wait_until(lambda: anns.connections == 2, "another socket")
            await talk.progress()
            await victim.start()
        for one, other in ((bens, cleos), (cleos, bens)):
            await talk.assert_all_heard(one, other)
            assert one.closings == []
        await assert_healthy(cluster)
        for page in (anns, bens):
            await page.hang_up()
        assert await cleos.wait_over() is Reason.NORMAL
    await assert_healthy(cluster)


async def test_a_call_made_while_redis_is_away(cluster: Cluster, register: Register) -> None:
    """It is new until somebody can manage it; a call that is ready has a manager that can't be reached."""
    room = await group(register, 4)
    ann, ben, cleo, dan = room.people
    ready = await room.ready_call(ann, ben)
    await asyncio.to_thread(cluster.redis.kill)
    made = await room.call(cleo, dan)
    for one in (cleo, dan):
        with refused(3009):
            await CallsApi(one.api).join(made)
    assert (await CallsApi(dan.api).get(made))["status"] == Status.NEW
    with refused(3005):
        await CallsApi(ben.api).join(ready)
    with refused(3005):
        await CallsApi(ben.api).hang_up(ready)
    await asyncio.to_thread(cluster.redis.start)
    assert (await wait_for_status(dan, made, Status.READY))["status"] == Status.READY
    async with pages(made, cleo, dan, heartbeat=BEAT) as (cleos, dans):
        await cleos.hang_up()
        assert await dans.wait_over() is Reason.NORMAL
    while (await CallsApi(ann.api).get(ready))["status"] != Status.END:
        with suppress(Refused):  # until its manager is there again
            await CallsApi(ann.api).hang_up(ready)
    await assert_healthy(cluster)
