"""The database is away while people are in a call."""

import asyncio
from collections.abc import Iterator

import aiohttp
import pytest

from tests.e2e.shapes import refused
from tests.faults.talk import talking
from tests.support.call import CallsApi, Reason, State, Status
from tests.support.call_page import CallPage, wait_for_status
from tests.support.calling import assert_healthy, group, pages
from tests.support.cluster import Cluster, open_cluster
from tests.support.register import Register, register_with

BEAT = 1.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two servers with a MariaDB of their own; each test leaves all of it running."""
    settings = {"ICHAT_MYSQL_TIMEOUT": "2", "ICHAT_CALLS_HEARTBEAT_TIMEOUT": "4"}
    with open_cluster("shared", tmp_path_factory.mktemp("calls"), settings=settings) as cluster:
        yield cluster


@pytest.fixture
def register(cluster: Cluster, http: aiohttp.ClientSession) -> Register:
    return register_with(cluster, http)


async def test_mariadb_is_away_for_some_seconds(cluster: Cluster, register: Register) -> None:
    """Who is in a call talks on, also over a new socket, and also without the process that owned the call. What must
    last waits until it can."""
    victim, survivor = cluster.servers
    room = await group(register, 4)
    ann, ben, cleo, dan = room.people
    call_id = await room.ready_call(ann, ben, cleo)
    async with pages(call_id, ann, ben, heartbeat=BEAT, retry=0.5) as (anns, bens):
        async with talking(anns, bens) as talk:
            await asyncio.to_thread(cluster.mariadb.kill)
            await talk.progress()
            with refused(500):
                await CallsApi(cleo.api).join(call_id)
            await anns.drop()
            await anns.wait_until(lambda: anns.connections == 2 and anns.socket, "another socket")
            await talk.progress()
            anns.api = ann.api.at(survivor.base)
            victim.kill()
            await anns.wait_until(lambda: anns.connections == 3 and anns.socket, "a third socket")
            await talk.progress()
            await asyncio.sleep(5)  # longer than anybody may be silent
            await talk.progress()
            await asyncio.to_thread(cluster.mariadb.start)
            await victim.start()
        await talk.assert_all_heard(bens, anns)
        assert bens.closings == []
        async with CallPage(cleo, call_id, heartbeat=BEAT) as cleos:
            await cleos.wait_started()
            await anns.wait_for_state(cleo.user_id, State.ONLINE)
            with refused(3007):
                await room.call(dan, ann, ben, cleo)
            await cleos.hang_up()
        await assert_healthy(cluster)
        await anns.hang_up()
        assert await bens.wait_over() is Reason.NORMAL
    assert (await wait_for_status(dan, await room.ready_call(dan, ann), Status.READY))["status"] == Status.READY
    await CallsApi(dan.api).hang_up((await CallsApi(dan.api).history(limit=1))[0]["callId"])
    await assert_healthy(cluster)


async def test_mariadb_is_away_when_a_call_ends(cluster: Cluster, register: Register) -> None:
    """Its end waits for the database, and comes though nobody is there any more."""
    room = await group(register, 3)
    ann, ben, _ = room.people
    call_id = await room.ready_call(ann, ben)
    async with pages(call_id, ann, ben, heartbeat=BEAT) as both:
        cluster.mariadb.stall()
        for page in both:
            page.stay_away = True
            await page.drop()
        await asyncio.sleep(6)  # lost meanwhile
        cluster.mariadb.resume()
        assert (await wait_for_status(ann, call_id, Status.END))["endReason"] == Reason.LOST
    await assert_healthy(cluster)
    await CallsApi(ann.api).hang_up(await room.ready_call(ann, ben))
    await assert_healthy(cluster)
