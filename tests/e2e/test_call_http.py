"""The endpoints of calls, row by row: what they give, and to whom they refuse what."""

import base64
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import aiohttp
import pytest

from tests.e2e.shapes import CALL, MESSAGE, assert_shape, is_bool, lies_between, moment, refused
from tests.support.call import CallsApi, CallSocket, FrameKind, Reason, State, Status
from tests.support.call_page import CallPage, members_of, wait_for_status
from tests.support.calling import assert_healthy, group, pages, pair
from tests.support.cluster import Cluster
from tests.support.register import Register

PAST_CALL = {**CALL, "handled": is_bool, "direction": lambda value: value in ("outgoing", "incoming")}
PAST_CALL["duration"] = lambda value: type(value) is int and value >= 0


@pytest.fixture(autouse=True)
async def _healthy(cluster: Cluster) -> AsyncIterator[None]:
    yield
    await assert_healthy(cluster)


async def test_a_call_as_its_members_get_it(register: Register) -> None:
    room = await pair(register)
    ann, ben = room.people
    before = datetime.now(UTC)
    call_id = await room.ready_call(ann, ben)
    call = await CallsApi(ben.api).get(call_id)
    assert_shape(CALL, call)
    assert call == await CallsApi(ann.api).get(call_id)
    assert call["members"] == f"[{ann.user_id},{ben.user_id}]"
    assert (call["callId"], call["callerId"], call["status"]) == (call_id, ann.user_id, Status.READY)
    assert (call["startTime"], call["endTime"], call["endReason"]) == (None, None, Reason.NONE)
    assert lies_between(call["createdAt"], before, datetime.now(UTC))
    async with pages(call_id, ann, ben) as (anns, _):
        active = await CallsApi(ben.api).get(call_id)
        assert_shape(CALL, active)
        assert (active["status"], active["endTime"]) == (Status.ACTIVE, None)
        assert lies_between(active["startTime"], before, datetime.now(UTC))
        await anns.hang_up()
    ended = await CallsApi(ben.api).get(call_id)
    assert_shape(CALL, ended)
    assert (ended["status"], ended["endReason"], ended["startTime"]) == (Status.END, Reason.NORMAL, active["startTime"])
    assert moment(ended["startTime"]) <= moment(ended["endTime"])
    assert moment(call["updatedAt"]) < moment(ended["updatedAt"])


async def test_the_caller_comes_first_in_a_group_call(register: Register) -> None:
    room = await group(register, 4)
    *others, dan = room.people
    call_id = await room.ready_call(dan, others[2], others[0])
    assert members_of(await CallsApi(dan.api).get(call_id)) == [dan.user_id, others[2].user_id, others[0].user_id]
    await CallsApi(dan.api).hang_up(call_id)


async def test_a_call_is_a_message_of_its_room(register: Register) -> None:
    room = await pair(register)
    ann, ben = room.people
    call_id = await room.ready_call(ann, ben)
    (message,) = await ben.api.history(room.contact_ids[ben.user_id])
    call = await CallsApi(ben.api).get(call_id)
    assert_shape(MESSAGE, message)
    assert (message["type"], message["senderId"], message["text"], message["localId"]) == (3, ann.user_id, "", "")
    assert (message["callId"], message["messageId"]) == (call_id, call["messageId"])
    assert message["call"] == call | {"handled": False}
    for one, other in ((ann, ben), (ben, ann)):
        contact = await one.contact(other)
        assert (contact["lastMessageId"], contact["lastMessageContent"]) == (call["messageId"], "[通话]")
    with refused(403):
        await ann.api.revoke(call["messageId"])
    await CallsApi(ben.api).hang_up(call_id)
    assert (await ben.api.history(room.contact_ids[ben.user_id]))[0]["call"]["handled"] is True
    assert (await ann.api.history(room.contact_ids[ann.user_id]))[0]["call"]["handled"] is False
    sent = await ann.api.send(room.contact_ids[ann.user_id], "a text after it")
    assert [line["messageId"] for line in await ben.api.history(room.contact_ids[ben.user_id])] == [
        call["messageId"],
        sent["messageId"],
    ]


async def test_who_can_not_be_called(register: Register) -> None:
    room = await pair(register)
    ann, ben = room.people
    eve = await register()
    mine = room.contact_ids[ann.user_id]
    with refused(3002):
        await CallsApi(ann.api).create(mine, [])
    with refused(3002):
        await CallsApi(ann.api).create(mine, [ann.user_id])
    for stranger in (ben, eve):
        with refused(403):
            await CallsApi(stranger.api).create(mine, [ann.user_id])
    for nobody in (2**62, 0):
        with refused(2005):
            await CallsApi(ann.api).create(nobody, [ben.user_id])
    for stranger_id in (eve.user_id, 2**62):
        with refused(1003):
            await CallsApi(ann.api).create(mine, [ben.user_id, stranger_id])
    with refused(1003):
        await CallsApi(ann.api).create(mine, list(range(10**6, 10**6 + 100)))
    assert await ann.api.history(mine) == []
    assert await CallsApi(ann.api).history() == []


async def test_a_user_named_twice_or_the_caller_among_the_called_counts_once(register: Register) -> None:
    room = await pair(register)
    ann, ben = room.people
    call_id = await CallsApi(ann.api).create(room.contact_ids[ann.user_id], [ben.user_id, ann.user_id, ben.user_id])
    call = await wait_for_status(ann, call_id, Status.READY)
    assert members_of(call) == [ann.user_id, ben.user_id]
    await CallsApi(ann.api).hang_up(call_id)


async def test_a_group_call_is_for_those_who_were_called(register: Register) -> None:
    room = await group(register, 3)
    ann, ben, cleo = room.people
    call_id = await room.ready_call(ann, ben)
    calls = CallsApi(cleo.api)
    for request in (calls.join, calls.hang_up, calls.get, calls.timeline):
        with refused(403):
            await request(call_id)
    (message,) = await cleo.api.history(room.contact_ids[cleo.user_id])
    assert message["callId"] == call_id
    await CallsApi(ann.api).hang_up(call_id)


async def test_there_is_no_such_call(register: Register) -> None:
    calls = CallsApi((await register()).api)
    for call_id in (0, 2**62):
        for request in (calls.join, calls.hang_up, calls.get, calls.timeline):
            with refused(3006):
                await request(call_id)
    for path in ("/call", "/call/timeline"):
        for value in ("x", "", "-1", str(2**63)):
            answer = await calls.api.answer("GET", path, params={"callId": value})
            assert answer.code in (300, 1003, 3006), answer
            assert 400 <= answer.http_status < 500


async def test_a_call_that_has_ended(register: Register) -> None:
    room = await pair(register)
    ann, ben = room.people
    call_id = await room.ready_call(ann, ben)
    await CallsApi(ann.api).hang_up(call_id)
    for one in room.people:
        with refused(3001):
            await CallsApi(one.api).join(call_id)
        with refused(3001):
            await CallsApi(one.api).hang_up(call_id)


async def test_who_rejected_is_out_of_a_group_call_that_goes_on(register: Register) -> None:
    room = await group(register, 3)
    ann, ben, cleo = room.people
    call_id = await room.ready_call(ann, ben, cleo)
    await CallsApi(cleo.api).hang_up(call_id)
    with refused(3001):
        await CallsApi(cleo.api).join(call_id)
    await CallsApi(cleo.api).hang_up(call_id)
    assert (await CallsApi(cleo.api).get(call_id))["status"] == Status.READY
    await CallsApi(ann.api).hang_up(call_id)


async def test_nothing_without_a_login(cluster: Cluster, http: aiohttp.ClientSession, register: Register) -> None:
    anonymous = CallsApi((await register()).api.with_token(""))
    with refused(401):
        await anonymous.create(1, [1])
    for request in (anonymous.join, anonymous.hang_up, anonymous.get, anonymous.timeline):
        with refused(401):
            await request(1)
    with refused(401):
        await anonymous.history()
    with refused(401):
        await anonymous.ice()


async def test_a_call_token_is_no_login_and_a_login_is_no_call_token(register: Register) -> None:
    room = await pair(register)
    ann, ben = room.people
    call_id = await room.ready_call(ann, ben)
    token = await CallsApi(ben.api).join(call_id)
    for as_login in (token, f"Bearer {token}"):
        with refused(401):
            await ben.api.with_token(as_login).contacts()
    notifications = await ben.api.with_token(token).connect()
    await notifications.closed()
    for no_call_token in (ben.api.token, "", "rubbish", token[:-4] + "AAAA", f"call:{call_id}:{ben.user_id}"):
        socket = await CallSocket.open(ben.api, no_call_token)
        frame = await socket.frame()
        assert (frame.kind, frame.payload) == (FrameKind.UNAUTHORIZED, "")
        await socket.closed()
    assert (await CallsApi(ann.api).timeline(call_id))[-1]["event"] == "joined"
    await CallsApi(ann.api).hang_up(call_id)


async def test_a_token_names_the_call_and_the_user_and_ends_in_three_hours(register: Register) -> None:
    room = await pair(register)
    ann, ben = room.people
    call_id = await room.ready_call(ann, ben)
    token = await CallsApi(ben.api).join(call_id)
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims.keys() == {"iss", "exp", "pl"}
    assert claims["pl"] == f"call:{call_id}:{ben.user_id}"
    assert abs(claims["exp"] - time.time() - 3 * 3600) < 60
    await CallsApi(ann.api).hang_up(call_id)


async def test_busy_people(register: Register) -> None:
    """Whoever is called is in a call, ringing or not; those who called them are told so."""
    room = await group(register, 4)
    ann, ben, cleo, dan = room.people
    call_id = await room.ready_call(ann, ben)
    with refused(3007):
        await room.call(cleo, ben)
    with refused(3007):
        await room.call(cleo, ann, ben)
    for busy in (ann, ben):
        with refused(3008):
            await room.call(busy, dan)
    await CallsApi(ben.api).hang_up(call_id)
    again = await room.ready_call(ben, cleo)
    await CallsApi(ben.api).hang_up(again)


async def test_a_busy_callee_of_a_group_call(register: Register) -> None:
    """The others can talk; who is busy may join once free, and as long as not, is told so."""
    room = await group(register, 4)
    ann, ben, cleo, dan = room.people
    other_call = await room.ready_call(cleo, dan)
    async with CallPage(cleo, other_call) as elsewhere:
        call_id = await room.ready_call(ann, ben, cleo)
        with refused(3008):
            await CallsApi(cleo.api).join(call_id)
        async with pages(call_id, ann, ben) as (anns, bens):
            assert anns.states[cleo.user_id] is State.INVITED
            await elsewhere.hang_up()
            assert await elsewhere.wait_over() is Reason.CANCELLED
            async with CallPage(cleo, call_id) as cleos:
                await cleos.wait_started()
                for page in (anns, bens):
                    await page.wait_for_state(cleo.user_id, State.ONLINE)
                with refused(3008):
                    await room.call(cleo, dan)
                await cleos.hang_up()
            await anns.hang_up()
            assert await bens.wait_over() is Reason.NORMAL


async def test_history_and_timeline(register: Register) -> None:
    room = await group(register, 3)
    ann, ben, cleo = room.people
    ids = []
    for caller, callee in ((ann, ben), (ben, ann), (ann, cleo)):
        call_id = await room.ready_call(caller, callee)
        async with pages(call_id, caller, callee) as (first, _):
            await first.hang_up()
        ids.append(call_id)
    rejected = await room.ready_call(ben, ann)
    await CallsApi(ann.api).hang_up(rejected)
    ids.append(rejected)

    past = await CallsApi(ann.api).history()
    assert_shape(PAST_CALL, *past)
    assert [call["callId"] for call in past] == ids[::-1]
    assert [call["direction"] for call in past] == ["incoming", "outgoing", "incoming", "outgoing"]
    assert [call["endReason"] for call in past] == [Reason.REJECTED, Reason.NORMAL, Reason.NORMAL, Reason.NORMAL]
    assert [members_of(call) for call in past[:2]] == [[ben.user_id, ann.user_id], [ann.user_id, cleo.user_id]]
    assert {call["handled"] for call in past} == {True}
    assert past[0]["duration"] == 0
    for call in past[1:]:
        talked = moment(call["endTime"]) - moment(call["startTime"])
        assert call["duration"] == int(talked.total_seconds())
    assert [call["callId"] for call in await CallsApi(cleo.api).history()] == [ids[2]]

    calls = CallsApi(ann.api)
    first_page = await calls.history(limit=3)
    assert [call["callId"] for call in first_page] == ids[:0:-1]
    assert [call["callId"] for call in await calls.history(limit=3, lastCallId=ids[1])] == ids[:1]
    assert await calls.history(lastCallId=ids[0]) == []
    for limit in (0, 101):
        with refused(300, 1003):
            await calls.history(limit=limit)

    timeline = await CallsApi(ben.api).timeline(rejected)
    assert [(entry["event"], entry["userId"]) for entry in timeline] == [
        ("ringing", ben.user_id),
        ("ringing", ann.user_id),
        ("ready", 0),
        ("rejected", ann.user_id),
        ("ended", 0),
    ]
    assert timeline[-1]["detail"] == "REJECTED"
    times = [moment(entry["at"]) for entry in timeline]
    assert times == sorted(times)
    whole = [entry["event"] for entry in await calls.timeline(ids[0])]
    assert whole[2:] == ["ready", "joined", "online", "joined", "online", "active", "hung-up", "ended"]
    with refused(403):
        await CallsApi(cleo.api).timeline(ids[0])


async def test_a_call_that_goes_on_is_in_the_history_with_its_duration_so_far(register: Register) -> None:
    room = await pair(register)
    call_id = await room.ready_call(*room.people)
    async with pages(call_id, *room.people) as (anns, _):
        (call,) = await CallsApi(room.people[1].api).history()
        assert_shape(PAST_CALL, call)
        assert (call["status"], call["endReason"], call["endTime"]) == (Status.ACTIVE, Reason.NONE, None)
        assert 0 <= call["duration"] < 60
        await anns.hang_up()
