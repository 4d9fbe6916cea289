"""How calls come to their ends, and what times do to people and calls: with short times."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from tests.e2e.shapes import moment, refused
from tests.support.account import Account
from tests.support.call import CallFrame, CallsApi, FrameKind, Reason, State, Status
from tests.support.call_page import CallPage, wait_for_status
from tests.support.calling import assert_healthy, group, pages, pair
from tests.support.cluster import BACKENDS, Cluster, open_cluster
from tests.support.register import Register, register_with

RING = 4.0
SILENCE = 2.0
BEAT = 0.3
"""Seconds between heartbeats, in proportion."""


@pytest.fixture(scope="module", params=BACKENDS)
def hasty(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster whose calls ring for a short time, and whose users are lost after a short silence."""
    shared = request.param == "shared"
    mariadb = request.getfixturevalue("mariadb") if shared else None
    redis = request.getfixturevalue("redis_server") if shared else None
    settings = {"ICHAT_CALLS_RING": str(RING), "ICHAT_CALLS_HEARTBEAT_TIMEOUT": str(SILENCE)}
    directory = tmp_path_factory.mktemp(f"hasty-{request.param}")
    with open_cluster(request.param, directory, settings=settings, mariadb=mariadb, redis=redis) as cluster:
        yield cluster


@pytest.fixture
def register(hasty: Cluster, http: aiohttp.ClientSession) -> Register:
    return register_with(hasty, http)


@pytest.fixture(autouse=True)
async def _healthy(hasty: Cluster) -> AsyncIterator[None]:
    yield
    await assert_healthy(hasty)


async def ended(account: Account, call_id: int) -> Reason:
    """Why the call has ended, once it has."""
    return Reason((await wait_for_status(account, call_id, Status.END))["endReason"])


async def test_hung_up_while_active(register: Register) -> None:
    room = await pair(register)
    for number in range(2):
        call_id = await room.ready_call(*room.people)
        async with pages(call_id, *room.people, heartbeat=BEAT) as both:
            await both[number].hang_up()
            for page in both:
                assert await page.wait_over() is Reason.NORMAL
        assert await ended(room.people[0], call_id) is Reason.NORMAL


async def test_rejected(register: Register) -> None:
    room = await pair(register)
    ann, ben = room.people
    call_id = await room.ready_call(ann, ben)
    async with CallPage(ann, call_id, heartbeat=BEAT) as anns:
        await CallsApi(ben.api).hang_up(call_id)
        assert await anns.wait_over() is Reason.REJECTED
        assert anns.seen(ben.user_id) == [State.INVITED, State.REJECTED]
    assert await ended(ben, call_id) is Reason.REJECTED


async def test_cancelled_by_the_caller_before_anybody_answered(register: Register) -> None:
    room = await pair(register)
    ann, ben = room.people
    for joins in (False, True):
        call_id = await room.ready_call(ann, ben)
        if joins:
            await CallsApi(ben.api).join(call_id)
        await CallsApi(ann.api).hang_up(call_id)
        assert await ended(ben, call_id) is Reason.CANCELLED
        with refused(3001):
            await CallsApi(ben.api).join(call_id)


async def test_cancelled_while_a_callee_is_there_alone(register: Register) -> None:
    room = await pair(register)
    ann, ben = room.people
    call_id = await room.ready_call(ann, ben)
    async with CallPage(ben, call_id, heartbeat=BEAT) as bens:
        await CallsApi(ann.api).hang_up(call_id)
        assert await bens.wait_over() is Reason.CANCELLED
        assert not bens.started


async def test_nobody_answers(register: Register) -> None:
    """The caller, who is online, waits for as long as it rings."""
    room = await group(register, 3)
    ann, ben, cleo = room.people
    before = time.monotonic()
    call_id = await room.ready_call(ann, ben, cleo)
    async with CallPage(ann, call_id, heartbeat=BEAT) as anns:
        assert await anns.wait_over() is Reason.NO_ANSWER
        for other in (ben, cleo):
            assert anns.seen(other.user_id) == [State.INVITED, State.REJECTED]
    assert time.monotonic() - before >= RING
    assert await ended(ben, call_id) is Reason.NO_ANSWER
    events = [(entry["event"], entry["userId"]) for entry in await CallsApi(ben.api).timeline(call_id)]
    assert events[-3:] == [("no-answer", ben.user_id), ("no-answer", cleo.user_id), ("ended", 0)]


async def test_the_caller_never_comes_online(register: Register) -> None:
    room = await pair(register)
    ann, ben = room.people
    call_id = await room.ready_call(ann, ben)
    assert await ended(ben, call_id) is Reason.ERROR


async def test_a_socket_that_never_comes_after_a_join_is_lost(register: Register) -> None:
    room = await pair(register)
    ann, ben = room.people
    call_id = await room.ready_call(ann, ben)
    async with CallPage(ann, call_id, heartbeat=BEAT) as anns:
        before = time.monotonic()
        await CallsApi(ben.api).join(call_id)
        assert await anns.wait_over() is Reason.LOST
        assert time.monotonic() - before >= SILENCE
        assert anns.seen(ben.user_id) == [State.INVITED, State.ACCEPTED, State.DEAD]


async def test_a_socket_that_went_away_is_lost_after_a_while(register: Register) -> None:
    room = await pair(register)
    call_id = await room.ready_call(*room.people)
    async with pages(call_id, *room.people, heartbeat=BEAT) as (anns, bens):
        anns.stay_away = True
        await anns.drop()
        before = time.monotonic()
        assert await bens.wait_over() is Reason.LOST
        assert time.monotonic() - before >= SILENCE - 0.5
        assert bens.seen(anns.user_id)[-2:] == [State.OFFLINE, State.DEAD]
    assert await ended(room.people[0], call_id) is Reason.LOST


async def test_a_socket_without_heartbeats_is_lost(register: Register) -> None:
    """Whatever else it says. It is told so itself."""
    room = await pair(register)
    ann, ben = room.people
    call_id = await room.ready_call(ann, ben)
    async with CallPage(ben, call_id, heartbeat=0) as bens, CallPage(ann, call_id, heartbeat=BEAT) as anns:
        await anns.wait_started()
        with pytest.raises(AssertionError, match="no socket"):
            while True:
                await bens.signal(anns, "I am still here")
                await asyncio.sleep(0.2)
        for page in (anns, bens):
            assert await page.wait_over() is Reason.LOST
        assert anns.seen(ben.user_id)[-2:] == [State.ONLINE, State.DEAD]
    assert await ended(ann, call_id) is Reason.LOST


async def test_who_was_lost_comes_back_to_a_group_call(register: Register) -> None:
    room = await group(register, 3)
    ann, ben, cleo = room.people
    call_id = await room.ready_call(*room.people)
    async with pages(call_id, ann, ben, cleo, heartbeat=BEAT, retry=0.1) as (anns, bens, cleos):
        cleos.stay_away = True
        await cleos.drop()
        await anns.wait_for_state(cleo.user_id, State.DEAD)
        with refused(3008):
            await room.call(ann, cleo)
        cleos.stay_away = False
        await anns.wait_for_state(cleo.user_id, State.ONLINE)
        shown = [State.INVITED, State.ACCEPTED, State.ONLINE, State.OFFLINE, State.DEAD, State.ONLINE]
        assert anns.seen(cleo.user_id)[-4:] == shown[-4:]
        await anns.signal(cleos, "welcome back")
        await cleos.wait_for_signals(1)
        for page in (anns, bens):
            await page.hang_up()
        assert await cleos.wait_over() is Reason.NORMAL


async def test_who_is_lost_can_be_called_by_others_and_the_last_who_is_left_ends_the_call(register: Register) -> None:
    room = await group(register, 4)
    ann, ben, cleo, dan = room.people
    call_id = await room.ready_call(ann, ben, cleo)
    async with pages(call_id, ann, ben, cleo, heartbeat=BEAT) as (anns, bens, cleos):
        cleos.stay_away = True
        await cleos.drop()
        await anns.wait_for_state(cleo.user_id, State.DEAD)
        other_call = await room.ready_call(dan, cleo)
        await CallsApi(dan.api).hang_up(other_call)
        bens.stay_away = True
        await bens.drop()
        assert await anns.wait_over() is Reason.LOST


async def test_who_does_not_answer_in_a_group_call_is_out_and_the_others_go_on(register: Register) -> None:
    """Also one who could not answer, being in another call all the time."""
    room = await group(register, 4)
    ann, ben, cleo, dan = room.people
    call_id = await room.ready_call(ann, ben, cleo)
    async with pages(call_id, ann, ben, heartbeat=BEAT) as (anns, bens):
        await anns.wait_for_state(cleo.user_id, State.REJECTED)
        assert bens.reason is None
        with refused(3001):
            await CallsApi(cleo.api).join(call_id)
        other_call = await room.ready_call(cleo, dan)
        await CallsApi(cleo.api).hang_up(other_call)
        await anns.signal(bens, "still here")
        await bens.wait_for_signals(1)
        await bens.hang_up()
        assert await anns.wait_over() is Reason.NORMAL
    call = await CallsApi(ann.api).get(call_id)
    assert (moment(call["endTime"]) - moment(call["createdAt"])).total_seconds() >= RING


async def test_the_last_one_who_was_waited_for_does_not_answer(register: Register) -> None:
    room = await group(register, 3)
    ann, ben, cleo = room.people
    call_id = await room.ready_call(ann, ben, cleo)
    async with pages(call_id, ann, ben, heartbeat=BEAT) as (anns, bens):
        await anns.hang_up()
        assert await anns.wait_over() is Reason.NORMAL
        assert await bens.wait_over() is Reason.REJECTED
        assert bens.seen(cleo.user_id) == [State.INVITED, State.REJECTED]


async def test_somebody_joins_a_call_that_is_active(register: Register) -> None:
    room = await group(register, 3)
    ann, ben, cleo = room.people
    call_id = await room.ready_call(ann, ben, cleo)
    async with (
        pages(call_id, ann, ben, heartbeat=BEAT) as (anns, bens),
        CallPage(cleo, call_id, heartbeat=BEAT) as cleos,
    ):
        await cleos.wait_started()
        assert cleos.frames[:2] == [cleos.frames[0], CallFrame(FrameKind.STARTED, "")]
        assert list(cleos.frames[0].states().values()) == [State.ONLINE] * 3
        assert sum(frame.kind is FrameKind.STARTED for frame in anns.frames) == 1
        await anns.hang_up()
        assert await anns.wait_over() is Reason.NORMAL
        await bens.signal(cleos, "without the caller")
        await cleos.wait_for_signals(1)
        await cleos.hang_up()
        assert await bens.wait_over() is Reason.NORMAL


async def test_joining_again_gives_a_new_token_and_changes_nothing(register: Register) -> None:
    room = await pair(register)
    ann, ben = room.people
    call_id = await room.ready_call(ann, ben)
    async with pages(call_id, ann, ben, heartbeat=BEAT) as (anns, bens):
        shown = len(bens.frames)
        await CallsApi(ann.api).join(call_id)
        await bens.signal(anns, "one")
        await anns.signal(bens, "two")
        await bens.wait_for_signals(1)
        assert [frame.kind for frame in bens.frames[shown:]] == [FrameKind.SIGNALING]
        await anns.hang_up()
    assert [entry["event"] for entry in await CallsApi(ann.api).timeline(call_id)].count("joined") == 2


async def test_all_hang_up_at_once(register: Register) -> None:
    """Each is granted, or told that the call has ended; everybody sees the same end."""
    room = await group(register, 4)
    for _ in range(3):
        call_id = await room.ready_call(*room.people)
        async with pages(call_id, *room.people, heartbeat=BEAT) as everybody:
            answers = await asyncio.gather(*(page.hang_up() for page in everybody), return_exceptions=True)
            assert {getattr(answer, "code", 200) for answer in answers} <= {200, 3001}
            assert [await page.wait_over() for page in everybody] == [Reason.NORMAL] * 4


async def test_callers_of_the_same_moment(register: Register) -> None:
    """Everybody calls everybody. Each call is refused, ends as busy, or is the only one that its people are in."""
    room = await group(register, 4)
    for _ in range(3):
        attempts = [
            room.call(caller, *(other for other in room.people if other is not caller)) for caller in room.people
        ]
        answers = await asyncio.gather(*attempts, return_exceptions=True)
        refusals = {getattr(answer, "code", 0) for answer in answers if isinstance(answer, Exception)}
        assert refusals <= {3007, 3008}, answers
        opened = []
        for call_id in (answer for answer in answers if isinstance(answer, int)):
            call = await wait_for_status(room.people[0], call_id, Status.READY)
            if call["status"] == Status.READY:
                opened.append(call_id)
            else:
                assert (call["status"], call["endReason"]) == (Status.END, Reason.BUSY)
                assert call["startTime"] is None
        (call_id,) = opened
        await CallsApi(room.people[0].api).hang_up(call_id)
        call = await CallsApi(room.people[0].api).get(call_id)
        if call["status"] != Status.END:
            await asyncio.gather(
                *(CallsApi(one.api).hang_up(call_id) for one in room.people[1:]), return_exceptions=True
            )
        await wait_for_status(room.people[0], call_id, Status.END)
