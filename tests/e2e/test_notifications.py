"""The notification socket, frame by frame."""

import asyncio
import json

from tests.e2e.shapes import CONTACT, CONTACT_REQUEST, NOTIFIED_MESSAGE, assert_shape
from tests.support.notification import Kind, NotificationSocket
from tests.support.register import Register


async def test_a_new_session_is_told_the_last_delivery_id(register: Register) -> None:
    ann, ben = await register(), await register(server=1)
    contact_id = await ann.befriend(ben)
    socket = await ben.api.connect()
    assert (await socket.opening()).last_delivery_id == 0
    for number in range(3):
        await ann.api.send(contact_id, str(number))
    other = await ben.api.connect()
    assert (await other.opening()).last_delivery_id == 3
    await other.close()
    await socket.close()


async def test_an_unknown_session_id_gives_a_new_session(register: Register) -> None:
    ann = await register()
    for unknown in ("nothing", "x" * 500, "\n", "会话", "0"):
        socket = await ann.api.connect(unknown)
        opening = await socket.opening()
        assert not opening.resumed
        assert opening.session_id != unknown
        await socket.close()


async def test_a_session_of_another_user_is_not_given_away(register: Register) -> None:
    ann, eve = await register(), await register(server=1)
    socket = await ann.api.connect()
    session_id = (await socket.opening()).session_id
    thief = await eve.api.connect(session_id)
    assert not (await thief.opening()).resumed
    contact_id = await ann.befriend(eve)
    kinds = [(await socket.notification()).kind for _ in range(1)]
    await ann.api.send(contact_id, "still mine")
    assert Kind.MESSAGE in [*kinds, (await socket.notification()).kind]
    await thief.close()
    await socket.close()


async def test_a_token_that_is_none_closes_the_socket(register: Register) -> None:
    ann = await register()
    for token in ("", "rubbish", ann.api.token[:-3]):
        socket = await ann.api.with_token(token).connect()
        await socket.closed()


async def test_a_call_token_shaped_text_is_no_login(register: Register) -> None:
    ann = await register()
    socket = await ann.api.with_token(f"call:1:{ann.user_id}").connect()
    await socket.closed()


async def test_every_kind_of_notification(register: Register) -> None:
    ann, ben = await register(), await register(server=1)
    anns, bens = await ann.api.connect(), await ben.api.connect()
    await anns.opening()
    await bens.opening()
    request = await ann.api.ask(ben.user_id)
    asked = await bens.notification()
    assert asked.kind is Kind.CONTACT_REQUEST
    assert asked.payload == request
    assert_shape(CONTACT_REQUEST, asked.payload)
    await ben.api.accept(request["id"])
    for socket, owner, other in ((anns, ann, ben), (bens, ben, ann)):
        made = await socket.notification()
        assert made.kind is Kind.CONTACT
        assert_shape(CONTACT, made.payload)
        assert (made.payload["ownerId"], made.payload["userId"]) == (owner.user_id, other.user_id)
    sent = await ann.api.send(await ann.contact_id(ben), "hello", local_id="here")
    for socket, local_id in ((anns, "here"), (bens, "")):
        told = await socket.notification()
        assert told.kind is Kind.MESSAGE
        assert_shape(NOTIFIED_MESSAGE, told.payload)
        assert told.payload == sent | {"isNew": True, "localId": local_id, "deliveryId": 1}
    await ann.api.revoke(sent["messageId"])
    for socket in (anns, bens):
        told = await socket.notification()
        assert_shape(NOTIFIED_MESSAGE, told.payload)
        assert (told.payload["isNew"], told.payload["revoked"], told.payload["deliveryId"]) == (False, True, 2)
    await anns.close()
    await bens.close()


async def test_what_came_while_the_connection_was_away_comes_with_the_resume(register: Register) -> None:
    ann, ben = await register(), await register(server=1)
    contact_id = await ann.befriend(ben)
    socket = await ben.api.connect()
    session_id = (await socket.opening()).session_id
    for round_number in range(5):
        socket.abort()
        for number in range(10):
            await ann.api.send(contact_id, f"{round_number}.{number}")
        socket = await ben.api.connect(session_id)
        frame = await socket.receive()
        assert frame == f"session:{session_id}"
        last = (round_number + 1) * 10
        came = [(await socket.notification()).payload["deliveryId"]]
        while came[-1] < last:
            came.append((await socket.notification()).payload["deliveryId"])
        assert came[0] <= last - 9
        assert came == list(range(came[0], last + 1))
    await socket.close()


async def test_a_session_goes_on_at_another_server(register: Register) -> None:
    ann, ben = await register(), await register()
    elsewhere = await register(server=1)
    contact_id = await ann.befriend(ben)
    socket = await ben.api.connect()
    session_id = (await socket.opening()).session_id
    socket.abort()
    sent = await ann.api.send(contact_id, "where are you?")
    socket = await ben.api.at(elsewhere.api.base).connect(session_id)
    assert (await socket.opening()).resumed
    assert (await socket.notification()).payload["messageId"] == sent["messageId"]
    await socket.close()


async def test_the_newer_socket_gets_the_session(register: Register) -> None:
    ann, ben = await register(), await register(server=1)
    contact_id = await ann.befriend(ben)
    older = await ben.api.connect()
    session_id = (await older.opening()).session_id
    newer = await ben.api.at(ann.api.base).connect(session_id)
    assert (await newer.opening()).resumed
    await older.closed()
    sent = await ann.api.send(contact_id, "to the newer")
    assert (await newer.notification()).payload["messageId"] == sent["messageId"]
    await newer.close()


async def test_heartbeats_and_unknown_frames_change_nothing(register: Register) -> None:
    ann, ben = await register(), await register(server=1)
    contact_id = await ann.befriend(ben)
    socket = await ben.api.connect()
    await socket.opening()
    for _ in range(5):
        await socket.heartbeat()
    sent = await ann.api.send(contact_id, "after heartbeats")
    assert (await socket.notification()).payload["messageId"] == sent["messageId"]
    await socket.close()


async def test_bytes_of_a_notification_are_utf8_json_with_two_fields(register: Register) -> None:
    ann, ben = await register(), await register(server=1)
    contact_id = await ann.befriend(ben)
    socket = await ben.api.connect()
    await socket.opening()
    text = '引号" 反斜杠\\ 换行\n \u2028 🙂 \x07'
    await ann.api.send(contact_id, text)
    frame = json.loads(await socket.receive())
    assert (frame["type"], frame["payload"]["text"]) == (1, text)
    await socket.close()


async def test_a_session_ends_some_time_after_its_connection(register_hasty: Register) -> None:
    ann = await register_hasty()
    socket = await ann.api.connect()
    session_id = (await socket.opening()).session_id
    await socket.close()

    async def resumed() -> bool:
        again = await ann.api.connect(session_id)
        opening = await again.opening()
        await again.close()
        return opening.resumed

    async with asyncio.timeout(30):
        pause = 0.6
        while await resumed():  # each try lengthens its life, so the tries come further apart
            await asyncio.sleep(pause)
            pause *= 2


async def test_who_says_nothing_at_first_is_sent_away(register_hasty: Register) -> None:
    ann = await register_hasty()
    for first in ([], [ann.api.token]):
        socket = NotificationSocket(await ann.api.http.ws_connect(ann.api.url("/ws/notification")))
        for frame in first:
            await socket.send(frame)
        assert (await socket.closed()).code == 4000
