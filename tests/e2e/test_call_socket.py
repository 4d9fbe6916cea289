"""The call socket, frame by frame."""

import json
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.e2e.shapes import refused
from tests.support.call import CallFrame, CallsApi, CallSocket, FrameKind, Reason, State
from tests.support.call_page import CallPage
from tests.support.calling import Room, assert_healthy, group, pages, pair
from tests.support.cluster import Cluster
from tests.support.register import Register


@pytest.fixture(autouse=True)
async def _healthy(cluster: Cluster) -> AsyncIterator[None]:
    yield
    await assert_healthy(cluster)


async def joined(room: Room, call_id: int, number: int, **options: Any) -> CallSocket:
    """A socket of the so-manyth of the room, who joins for it."""
    person = room.people[number]
    return await CallSocket.open(person.api, await CallsApi(person.api).join(call_id), **options)


async def frames_until(socket: CallSocket, kind: FrameKind) -> list[CallFrame]:
    """All frames up to the first of this kind."""
    frames = [await socket.frame()]
    while frames[-1].kind is not kind:
        frames.append(await socket.frame())
    return frames


async def test_from_the_first_frame_to_the_last(register: Register) -> None:
    """Who is told what, in which order, while two come, talk and go."""
    room = await pair(register)
    ann, ben = (person.user_id for person in room.people)
    call_id = await room.ready_call(*room.people)

    anns = await joined(room, call_id, 0)
    first = await anns.frame()
    assert first.kind is FrameKind.ALL_STATES
    assert json.loads(first.payload) == [
        {"userId": ann, "state": State.ONLINE, "ping": -2},
        {"userId": ben, "state": State.INVITED, "ping": -2},
    ]

    bens_token = await CallsApi(room.people[1].api).join(call_id)
    accepted = await anns.frame()
    assert accepted.kind is FrameKind.ONE_STATE
    assert json.loads(accepted.payload) == {"userId": ben, "state": State.ACCEPTED, "ping": -2}

    bens = await CallSocket.open(room.people[1].api, bens_token)
    first = await bens.frame()
    assert first.kind is FrameKind.ALL_STATES
    assert first.states() == {ann: State.ONLINE, ben: State.ONLINE}
    assert list(first.states()) == [ann, ben]
    assert await bens.frame() == CallFrame(FrameKind.STARTED, "")
    online = await anns.frame()
    assert (online.kind, online.states()) == (FrameKind.ONE_STATE, {ben: State.ONLINE})
    assert await anns.frame() == CallFrame(FrameKind.STARTED, "")

    for message in ("", '{"type":1,"payload":"v=0\\r\\n"}', "通话 🙂 \u2028 \x07 \ud83d", "x" * 100_000):
        await anns.signal(ben, message)
        came = await bens.frame()
        assert json.loads(came.payload) == {"fromUserId": ann, "message": message}
        await bens.signal(ann, message)
        assert (await anns.frame()).signal().message == message
    for socket in (anns, bens):
        await socket.heartbeat()

    await CallsApi(room.people[1].api).hang_up(call_id)
    left = await anns.frame()
    assert (left.kind, left.states()) == (FrameKind.ONE_STATE, {ben: State.DEAD})
    for socket in (anns, bens):
        assert await socket.frame() == CallFrame(FrameKind.ENDED, "1")
        assert (await socket.closed()).code == 4007


async def test_the_first_states_come_at_once(register: Register) -> None:
    """They wait for nobody and nothing, so the fastest of some tries is quick on any machine, however busy."""
    room = await pair(register)
    call_id = await room.ready_call(*room.people)
    took: list[float] = []
    for _ in range(20):
        token = await CallsApi(room.people[0].api).join(call_id)
        socket = CallSocket(await room.people[0].api.http.ws_connect(room.people[0].api.url("/ws/call")))
        start = time.perf_counter()
        await socket.send(token)
        assert (await socket.frame()).kind is FrameKind.ALL_STATES
        took.append(time.perf_counter() - start)
        await socket.close()
    assert min(took) < 0.050, took
    await CallsApi(room.people[0].api).hang_up(call_id)


async def test_order_is_kept_between_two(register: Register) -> None:
    room = await group(register, 3)
    call_id = await room.ready_call(*room.people)
    async with pages(call_id, *room.people) as everybody:
        for number in range(200):
            for page in everybody:
                for other in everybody:
                    if other is not page:
                        await page.signal(other, f"{number}")
        for page in everybody:
            await page.wait_for_signals(400)
            for other in everybody:
                expected = [] if other is page else [f"{number}" for number in range(200)]
                assert page.heard_from(other) == expected
        await everybody[0].hang_up()
        await everybody[1].hang_up()


async def test_everything_of_the_states_is_told_to_everybody_once(register: Register) -> None:
    room = await group(register, 4)
    ann, ben, cleo, dan = room.people
    call_id = await room.ready_call(*room.people)
    async with pages(call_id, ann, ben) as (anns, bens):
        await CallsApi(dan.api).hang_up(call_id)
        async with CallPage(cleo, call_id, retry=0.1) as cleos:
            await anns.wait_for_state(cleo.user_id, State.ONLINE)
            cleos.stay_away = True
            await cleos.drop()
            await anns.wait_for_state(cleo.user_id, State.OFFLINE)
            cleos.stay_away = False
            await anns.wait_for_state(cleo.user_id, State.ONLINE)
            await cleos.hang_up()
            assert await cleos.wait_over() is Reason.NORMAL
        for page in (anns, bens):
            await page.wait_for_state(cleo.user_id, State.DEAD)
            assert page.seen(dan.user_id) == [State.INVITED, State.REJECTED]
            came_and_went = [State.INVITED, State.ACCEPTED, State.ONLINE, State.OFFLINE, State.ONLINE, State.DEAD]
            assert page.seen(cleo.user_id) == came_and_went
            assert page.reason is None
        assert anns.seen(ann.user_id) == [State.ONLINE]
        await anns.hang_up()


async def test_a_hang_up_ends_a_socket_that_is_just_being_opened(register: Register) -> None:
    """The person is out, whichever of the two comes first to the call's manager."""
    room = await group(register, 3)
    ann, ben, cleo = room.people
    call_id = await room.ready_call(ann, ben, cleo)
    async with pages(call_id, ann, ben) as (anns, bens):
        for _ in range(10):
            token = await CallsApi(cleo.api).join(call_id)
            socket = await CallSocket.open(cleo.api, token)
            await CallsApi(cleo.api).hang_up(call_id)
            assert (await frames_until(socket, FrameKind.ENDED))[-1].reason() is Reason.NORMAL
            await socket.closed()
            await anns.wait_for_state(cleo.user_id, State.DEAD)
        await bens.signal(anns, "the last")
        await anns.wait_for_signals(1)
        assert anns.states[cleo.user_id] is State.DEAD
        await bens.hang_up()


async def test_an_older_socket_is_told_that_a_newer_one_has_taken_over(register: Register, cluster: Cluster) -> None:
    """The newer may be of the same page or of another, at the same server or elsewhere; the others notice nothing."""
    room = await pair(register)
    ann, ben = room.people
    call_id = await room.ready_call(ann, ben)
    async with CallPage(ben, call_id) as bens:
        token = await CallsApi(ann.api).join(call_id)
        older = await CallSocket.open(ann.api, token)
        assert (await older.frame()).kind is FrameKind.ALL_STATES
        await bens.wait_started()
        seen, said = len(bens.frames), list[str]()
        for base in (*cluster.bases, cluster.bases[0]):
            for renew in (False, True):
                former, token = token, await CallsApi(ann.api).join(call_id) if renew else token
                newer = await CallSocket.open(ann.api.at(base), token)
                assert (await newer.frame()).states() == {ann.user_id: State.ONLINE, ben.user_id: State.ONLINE}
                assert (await newer.frame()).kind is FrameKind.STARTED
                assert (await frames_until(older, FrameKind.UNAUTHORIZED))[-1].payload == ""
                await older.closed()
                said.append(f"to socket {len(said)}")
                await bens.signal(ann.user_id, said[-1])
                while (message := (await newer.frame()).signal().message) != said[-1]:
                    assert message in said, "what its page may have had already"
                    assert token == former, "that was for another page"
                older = newer
        await newer.signal(ben.user_id, "from the newest")
        await bens.wait_for_signals(1)
        assert {frame.kind for frame in bens.frames[seen:]} == {FrameKind.SIGNALING}
        await bens.hang_up()
        assert (await frames_until(older, FrameKind.ENDED))[-1].reason() is Reason.NORMAL
        await older.closed()


async def test_what_is_said_while_a_socket_is_away_waits_for_the_same_page(register: Register) -> None:
    room = await pair(register)
    call_id = await room.ready_call(*room.people)
    async with pages(call_id, *room.people, retry=0.2) as (anns, bens):
        await bens.wait_until(lambda: bens.states[anns.user_id] is State.ONLINE, "both online")
        bens.stay_away = True
        await bens.drop()
        for number in range(20):
            await anns.signal(bens, f"{number}")
        await anns.wait_for_state(bens.user_id, State.OFFLINE)
        bens.stay_away = False
        await bens.wait_for_signals(20)
        assert bens.heard_from(anns) == [f"{number}" for number in range(20)]
        second_socket = bens.frames.index(next(frame for frame in bens.frames if frame.kind is FrameKind.SIGNALING))
        assert bens.frames[second_socket - 2].kind is FrameKind.ALL_STATES
        await anns.hang_up()


async def test_a_token_opens_one_socket_after_the_other_as_long_as_the_call_goes_on(register: Register) -> None:
    room = await pair(register)
    ann, ben = room.people
    call_id = await room.ready_call(ann, ben)
    token = await CallsApi(ben.api).join(call_id)
    for _ in range(3):
        socket = await CallSocket.open(ben.api, token)
        assert (await socket.frame()).kind is FrameKind.ALL_STATES
        await socket.close()
    await CallsApi(ann.api).hang_up(call_id)
    late = await CallSocket.open(ben.api, token)
    assert await late.frame() == CallFrame(FrameKind.ENDED, f"{Reason.CANCELLED}")
    assert (await late.closed()).code == 4007


async def test_who_left_is_told_the_end_and_comes_back_with_a_new_socket(register: Register) -> None:
    """From dead to online: as long as the call goes on and the user is in no other call."""
    room = await group(register, 4)
    ann, ben, cleo, dan = room.people
    call_id = await room.ready_call(ann, ben, cleo)
    async with pages(call_id, ann, ben, cleo) as (anns, bens, cleos):
        await cleos.hang_up()
        assert await cleos.wait_over() is Reason.NORMAL
        await anns.wait_for_state(cleo.user_id, State.DEAD)
        again = await CallSocket.open(cleo.api, cleos.token)
        assert (await again.frame()).states()[cleo.user_id] is State.ONLINE
        for page in (anns, bens):
            await page.wait_for_state(cleo.user_id, State.ONLINE)
        await CallsApi(cleo.api).hang_up(call_id)
        assert (await frames_until(again, FrameKind.ENDED))[-1].reason() is Reason.NORMAL
        await again.closed()

        other_call = await room.ready_call(cleo, dan)
        sent_away = await CallSocket.open(cleo.api, cleos.token, language="en")
        error, ended = await sent_away.frame(), await sent_away.frame()
        assert (error.kind, ended.reason()) == (FrameKind.ERROR, Reason.BUSY)
        assert error.payload == "You are in a call"
        await sent_away.closed()
        with refused(3008):
            await CallsApi(cleo.api).join(call_id)
        assert anns.states[cleo.user_id] is State.DEAD
        await CallsApi(cleo.api).hang_up(other_call)
        async with CallPage(cleo, call_id) as back:
            await back.wait_started()
            await anns.wait_for_state(cleo.user_id, State.ONLINE)
            await back.hang_up()
        await anns.hang_up()
        assert await bens.wait_over() is Reason.NORMAL


BAD_FRAMES = [
    "",
    "x",
    "[]",
    "5",
    "null",
    '"5"',
    "{}",
    '{"type":"5","payload":""}',
    '{"type":5.0,"payload":""}',
    '{"type":true,"payload":""}',
    '{"type":5,"payload":5}',
    '{"type":4,"payload":"x"}',
    '{"type":4,"payload":"[]"}',
    '{"type":4,"payload":"{}"}',
    '{"type":4,"payload":"{\\"toUserId\\":\\"1\\",\\"message\\":\\"\\"}"}',
    '{"type":4,"payload":"{\\"toUserId\\":1,\\"message\\":{}}"}',
    '{"type":4,"payload":""}',
    '{"type":9,"payload":"-1"}',
    '{"type":' + "9" * 5000 + "}",
    "[" * 100_000,
]


async def test_a_frame_that_is_none_is_answered_with_a_text_for_the_person(register: Register) -> None:
    room = await pair(register)
    ann, ben = room.people
    call_id = await room.ready_call(ann, ben)
    async with CallPage(ben, call_id) as bens:
        for language, expected in (("", "[\u4e00-\u9fff]"), ("en-GB,en;q=0.9", "^[ -~]+$")):
            anns = await joined(room, call_id, 0, language=language)
            await frames_until(anns, FrameKind.STARTED)
            for bad in BAD_FRAMES:
                await anns.send(bad)
                error = await anns.frame()
                assert error.kind is FrameKind.ERROR, bad
                assert re.search(expected, error.payload), error
            for nobody in (0, ann.user_id, 2**62, -1):
                await anns.signal(nobody, "hello?")
                assert (await anns.frame()).kind is FrameKind.ERROR
            await anns.signal(ben.user_id, "still here")
            await bens.wait_for_signals(1)
            bens.heard.clear()
            await anns.close()
        assert bens.errors == []
        await bens.hang_up()


async def test_what_a_client_says_that_knows_more_is_passed_over(register: Register) -> None:
    room = await pair(register)
    ann, ben = room.people
    call_id = await room.ready_call(ann, ben)
    async with pages(call_id, ann, ben) as (anns, bens):
        for unknown in (0, 1, 2, 3, 6, 7, 8, 10, 99, -1, 2**40):
            await anns.open_socket.say(unknown, "something")
        await anns.open_socket.send('{"type":5}')
        await anns.open_socket.send('{"type":5,"payload":"","more":[1,2,3]}')
        await anns.signal(bens, "and on it goes")
        await bens.wait_for_signals(1)
        assert anns.errors == []
        await anns.hang_up()


async def test_media_that_is_seen_is_noted_in_the_timeline(register: Register) -> None:
    """An addition: a client may say that picture or sound arrives."""
    room = await pair(register)
    ann, ben = room.people
    call_id = await room.ready_call(ann, ben)
    async with pages(call_id, ann, ben) as (anns, bens):
        for _ in range(3):
            await anns.open_socket.say(9, str(ben.user_id))
        await bens.open_socket.say(9, str(ann.user_id))
        await bens.open_socket.say(9, str(ben.user_id))
        await bens.signal(anns, "all said")
        await anns.wait_for_signals(1)
        await bens.hang_up()
        await anns.wait_over()
    timeline = await CallsApi(ann.api).timeline(call_id)
    media = [(entry["userId"], entry["detail"]) for entry in timeline if entry["event"] == "media"]
    assert sorted(media) == sorted([(ann.user_id, str(ben.user_id)), (ben.user_id, str(ann.user_id))])


async def test_signaling_to_those_who_are_not_there_is_dropped(register: Register) -> None:
    room = await group(register, 4)
    ann, ben, cleo, dan = room.people
    call_id = await room.ready_call(*room.people)
    async with pages(call_id, ann, ben) as (anns, bens):
        await CallsApi(dan.api).hang_up(call_id)
        await anns.wait_for_state(dan.user_id, State.REJECTED)
        for absent in (cleo, dan):
            await anns.signal(absent.user_id, "too early or too late")
        async with CallPage(cleo, call_id) as cleos:
            await anns.wait_for_state(cleo.user_id, State.ONLINE)
            await anns.signal(cleos, "now")
            await cleos.wait_for_signals(1)
            assert cleos.heard_from(anns) == ["now"]
            await cleos.hang_up()
        assert anns.errors == []
        await bens.hang_up()


async def test_binary_frames_close_the_socket_and_the_page_comes_back(register: Register) -> None:
    room = await pair(register)
    call_id = await room.ready_call(*room.people)
    async with pages(call_id, *room.people, retry=0.1) as (anns, bens):
        await anns.open_socket.raw.send_bytes(b"\x00\x01")
        await anns.wait_until(lambda: anns.closings, "the close")
        assert anns.closings[0].code == 1003
        await anns.wait_until(lambda: anns.connections == 2 and anns.socket, "another socket")
        await anns.signal(bens, "again")
        await bens.wait_for_signals(1)
        await bens.hang_up()
