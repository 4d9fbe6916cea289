"""Calls whose owner dies, stops or comes back."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from tests.e2e.shapes import moment, refused
from tests.faults.talk import talking
from tests.support.account import Account
from tests.support.call import CallsApi, Reason, State, Status
from tests.support.call_page import CallPage, wait_for_status
from tests.support.calling import Room, assert_healthy, calls_and_sockets, group, pages, pair
from tests.support.cluster import Cluster, open_cluster
from tests.support.mariadb import MariaDb
from tests.support.notification import PATIENCE
from tests.support.register import Register, register_with
from tests.support.server import ServerProcess

LEASE = 3.0
"""Seconds for which a call stays the owner's whose process died."""
TAKEOVER = 5.0
"""Seconds within which another process has the call, on a machine that has nothing else to do."""
SLACK = 5.0
"""And what a loaded machine may add."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, mariadb: MariaDb) -> Iterator[Cluster]:
    """One for all tests of this module; each leaves it healthy."""
    with open_cluster("shared", tmp_path_factory.mktemp("calls"), processes=3, mariadb=mariadb) as cluster:
        yield cluster


@pytest.fixture
async def cluster(shared: Cluster) -> AsyncIterator[Cluster]:
    yield shared
    await shared.start()  # whatever a test that failed has left


@pytest.fixture
def register(cluster: Cluster, http: aiohttp.ClientSession) -> Register:
    return register_with(cluster, http)


async def takeovers(account: Account, call_id: int) -> list[float]:
    """When the call was taken over, in seconds since 1970."""
    timeline = await CallsApi(account.api).timeline(call_id)
    return [moment(entry["at"]).timestamp() for entry in timeline if entry["event"] == "taken-over"]


async def wait_for_takeover(account: Account, call_id: int, count: int = 1) -> float:
    """When the call was taken over for the so-manyth time."""
    async with asyncio.timeout(PATIENCE):
        while len(found := await takeovers(account, call_id)) < count:
            await asyncio.sleep(0.05)
    return found[count - 1]


async def reconnected(page: CallPage) -> None:
    await page.wait_until(lambda: page.connections > 1 and page.socket, "another socket")


async def saved_as_online(account: Account, call_id: int) -> None:
    """Returns once the database has it too, which needn't be at once."""
    async with asyncio.timeout(PATIENCE):
        while not any(
            (entry["event"], entry["userId"]) == ("online", account.user_id)
            for entry in await CallsApi(account.api).timeline(call_id)
        ):
            await asyncio.sleep(0.05)


async def people_of_two_servers(register: Register) -> Room:
    """The first, who is to call, at the first server, and two at the second."""
    ann, ben, cleo = await register(), await register(server=1), await register(server=1)
    await ann.api.make_group("friends", [await ann.befriend(other) for other in (ben, cleo)])
    people = [ann, ben, cleo]
    return Room(people, {one.user_id: int((await one.group_contact("friends"))["contactId"]) for one in people})


async def test_the_owner_is_killed(cluster: Cluster, register: Register) -> None:
    """Those at another process notice nothing; those who were at the owner come back by themselves."""
    victim, survivor, _ = cluster.servers
    room = await people_of_two_servers(register)
    ann, ben, cleo = room.people
    call_id = await room.ready_call(ann, ben, cleo)
    async with pages(call_id, ann, ben, cleo) as (anns, bens, cleos):
        async with talking(anns, bens, cleos) as talk:
            anns.api = ann.api.at(survivor.base)
            victim.kill()
            killed = time.time()
            assert await wait_for_takeover(ben, call_id) - killed < TAKEOVER + SLACK
            await reconnected(anns)
            await talk.progress()
            await bens.wait_for_state(ann.user_id, State.ONLINE)
            await victim.start()
            await talk.progress()
        for one, other in ((bens, cleos), (cleos, bens), (bens, anns), (cleos, anns)):
            await talk.assert_all_heard(one, other)
        for page in (bens, cleos):
            talk.assert_in_order(anns, page)
            assert page.closings == []
            assert page.connections == 1
        await assert_healthy(cluster)
        for page in (anns, bens):
            await page.hang_up()
        assert await cleos.wait_over() is Reason.NORMAL
    await assert_healthy(cluster)


async def test_the_state_outlives_the_owner(cluster: Cluster, register: Register) -> None:
    """Who rejected, who rings still, who is reserved, how long it has rung: all is as before."""
    victim, survivor, _ = cluster.servers
    room = await group(register, 5)
    people = [Account(one.api.at(survivor.base), one.user_id, one.username) for one in room.people]
    ann, ben, cleo, dan, eve = people
    call_id = await room.ready_call(room.people[0], ben, cleo, dan)
    async with pages(call_id, ann, ben) as (anns, bens):
        await CallsApi(cleo.api).hang_up(call_id)
        await anns.wait_for_state(cleo.user_id, State.REJECTED)
        victim.kill()
        with refused(3001):
            await CallsApi(cleo.api).join(call_id)
        with refused(3007):
            await room.call(eve, ben, dan)
        async with CallPage(dan, call_id) as dans:
            await dans.wait_started()
            assert dans.frames[0].states() == {
                ann.user_id: State.ONLINE,
                ben.user_id: State.ONLINE,
                cleo.user_id: State.REJECTED,
                dan.user_id: State.ONLINE,
            }
            for page in (anns, bens):
                await page.wait_for_state(dan.user_id, State.ONLINE)
                assert page.seen(dan.user_id) == [State.INVITED, State.ACCEPTED, State.ONLINE]
                assert page.closings == []
            await anns.hang_up()
            assert await anns.wait_over() is Reason.NORMAL
            await bens.hang_up()
            for page in (bens, dans):
                assert await page.wait_over() is Reason.NORMAL
    call = await CallsApi(eve.api.with_token(ann.api.token)).get(call_id)
    assert (call["status"], call["endReason"]) == (Status.END, Reason.NORMAL)
    await victim.start()
    await assert_healthy(cluster)


async def owner(cluster: Cluster) -> ServerProcess:
    """The server that manages the only call there is."""
    async with asyncio.timeout(PATIENCE):
        while True:
            for server in cluster.servers:
                if (await calls_and_sockets(server))[0]:
                    return server
            await asyncio.sleep(0.05)


async def test_owners_are_killed_one_after_the_other(cluster: Cluster, register: Register) -> None:
    room = await pair(register)
    call_id = await room.ready_call(*room.people)
    async with pages(call_id, *room.people, retry=0.5) as (anns, bens):
        async with talking(anns, bens) as talk:
            for count in (1, 2):
                victim = await owner(cluster)
                survivor = next(server for server in cluster.servers if server is not victim)
                for page in (anns, bens):
                    page.api = page.api.at(survivor.base)
                victim.kill()
                await wait_for_takeover(Account(anns.api, anns.user_id, ""), call_id, count)
                await talk.progress()
                await victim.start()
        talk.assert_in_order(anns, bens)
        talk.assert_in_order(bens, anns)
        await anns.hang_up()
        assert await bens.wait_over() is Reason.NORMAL
    await assert_healthy(cluster)


async def test_the_owner_is_told_to_stop(cluster: Cluster, register: Register) -> None:
    """The call is handed over: whoever asks its manager meanwhile hardly notices."""
    victim, survivor, _ = cluster.servers
    room = await people_of_two_servers(register)
    ann, ben, cleo = room.people
    call_id = await room.ready_call(ann, ben, cleo)
    slowest = 0.0
    async with pages(call_id, ann, ben, cleo) as (anns, bens, cleos):
        async with talking(anns, bens, cleos) as talk:
            anns.api = ann.api.at(survivor.base)
            stopping = asyncio.create_task(victim.terminate())
            while not stopping.done() or not await takeovers(ben, call_id):
                start = time.monotonic()
                await CallsApi(ben.api).join(call_id)  # goes to the manager and back
                slowest = max(slowest, time.monotonic() - start)
            assert await stopping == 0
            await reconnected(anns)
            await talk.progress()
            await victim.start()
        for one, other in ((bens, cleos), (cleos, bens), (bens, anns), (cleos, anns)):
            await talk.assert_all_heard(one, other)
        for page in (bens, cleos):
            assert page.closings == []
        for page in (anns, bens):
            await page.hang_up()
        assert await cleos.wait_over() is Reason.NORMAL
    assert slowest < LEASE, f"{slowest} s"  # so long it would take if nobody were told
    await assert_healthy(cluster)


async def test_many_calls_of_a_killed_owner(cluster: Cluster, register: Register) -> None:
    """Each is taken over by one of the others, which share them."""
    victim, survivor, _ = cluster.servers
    rooms = [await pair(register) for _ in range(12)]
    calls = [await room.ready_call(*room.people) for room in rooms]
    victim.kill()
    killed = time.time()
    for room, call_id in zip(rooms, calls, strict=True):
        caller = Account(room.people[0].api.at(survivor.base), room.people[0].user_id, "")
        assert await wait_for_takeover(caller, call_id) - killed < TAKEOVER + SLACK
        await CallsApi(caller.api).hang_up(call_id)
        assert (await wait_for_status(caller, call_id, Status.END))["endReason"] == Reason.CANCELLED
    await victim.start()
    await assert_healthy(cluster)


@pytest.mark.parametrize("way", ["killed", "told to stop"])
@pytest.mark.parametrize("own_cluster", ["embedded"], indirect=True)
async def test_the_only_process_comes_back(own_cluster: Cluster, register_own: Register, way: str) -> None:
    """With it the people, and the call goes on where it was."""
    (server,) = own_cluster.servers
    room = await group(register_own, 3)
    ann, ben, cleo = room.people
    call_id = await room.ready_call(ann, ben, cleo)
    async with pages(call_id, ann, ben, retry=0.5) as (anns, bens):
        started = (await CallsApi(ann.api).get(call_id))["startTime"]
        async with talking(anns, bens) as talk:
            if way == "killed":
                server.kill()
            else:
                assert await server.terminate() == 0
            await server.start()
            for page in (anns, bens):
                await reconnected(page)
            await talk.progress()
        call = await CallsApi(ann.api).get(call_id)
        assert (call["status"], call["startTime"]) == (Status.ACTIVE, started)
        with refused(3008):
            await room.call(ben, cleo)
        async with CallPage(cleo, call_id) as cleos:
            await cleos.wait_started()
            await anns.wait_for_state(cleo.user_id, State.ONLINE)
            await cleos.hang_up()
        await anns.hang_up()
        assert await bens.wait_over() is Reason.NORMAL
    await assert_healthy(own_cluster)


@pytest.mark.settings(ICHAT_CALLS_HEARTBEAT_TIMEOUT="3", ICHAT_CALLS_RING="9")
@pytest.mark.parametrize("own_cluster", ["embedded"], indirect=True)
async def test_the_only_process_comes_back_and_the_people_do_not(own_cluster: Cluster, register_own: Register) -> None:
    """Calls end in order: those that were active by the loss of their people, those that rang by the time."""
    (server,) = own_cluster.servers
    active, ringing, created = await pair(register_own), await pair(register_own), await pair(register_own)
    calls = [await room.ready_call(*room.people) for room in (active, ringing, created)]
    async with pages(calls[0], *active.people, heartbeat=1.0) as both, CallPage(ringing.people[0], calls[1]) as caller:
        for page in (*both, caller):
            page.stay_away = True
        for account, call_id in ((active.people[0], calls[0]), (ringing.people[0], calls[1])):
            await saved_as_online(account, call_id)
        server.kill()
        await server.start()
        ends = [await wait_for_status(active.people[0], calls[0], Status.END)]
        ends += [await wait_for_status(ringing.people[0], calls[1], Status.END)]
        ends += [await wait_for_status(created.people[0], calls[2], Status.END)]
        reasons = [Reason(call["endReason"]) for call in ends]
        assert reasons[1] in (Reason.LOST, Reason.NO_ANSWER)  # by whichever time was over first
        assert (reasons[0], reasons[2]) == (Reason.LOST, Reason.ERROR)
    for room in (active, ringing, created):
        await CallsApi(room.people[1].api).hang_up(await room.ready_call(room.people[1], room.people[0]))
    await assert_healthy(own_cluster)
