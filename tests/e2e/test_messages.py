"""Sending, history, changes of a message and sync, row by row of the contract."""

from datetime import UTC, datetime

import pytest

from tests.e2e.shapes import MESSAGE, assert_shape, content, lies_between, moment, refused
from tests.support.register import Register


async def test_a_text_as_its_sender_gets_it_back(register: Register) -> None:
    ann, ben = await register(), await register(server=1)
    contact_id = await ann.befriend(ben)
    before = datetime.now(UTC)
    message = await ann.api.send(contact_id, "hello 世界 🙂", local_id="l-1")
    assert_shape(MESSAGE, message)
    assert lies_between(message["createdAt"], before, datetime.now(UTC))
    expected = {"senderId": ann.user_id, "type": 1, "text": "hello 世界 🙂", "image": "", "thumbnail": "", "callId": 0}
    expected |= {"revoked": False, "call": None, "localId": "l-1", "roomId": (await ann.contact(ben))["roomId"]}
    assert {key: message[key] for key in expected} == expected


@pytest.mark.parametrize(
    "urls", [{"thumbnail": "file/t"}, {"image": "http://a/b"}, {"thumbnail": "file/t", "image": "file/i"}]
)
async def test_an_image(register: Register, urls: dict[str, str]) -> None:
    ann, ben = await register(), await register(server=1)
    message = await ann.api.send(await ann.befriend(ben), **urls)
    assert_shape(MESSAGE, message)
    assert (message["type"], message["text"]) == (2, "")
    assert (message["image"], message["thumbnail"]) == (urls.get("image", ""), urls.get("thumbnail", ""))


async def test_what_can_not_be_sent(register: Register) -> None:
    ann, ben, eve = await register(), await register(server=1), await register()
    contact_id = await ann.befriend(ben)
    with refused(2008):
        await ann.api.send(contact_id)
    with refused(2008):
        await ann.api.send(contact_id, "")
    for url in ("javascript:1", "//host/x", "file:///etc/passwd", "x"):
        with refused(1003):
            await ann.api.send(contact_id, image=url)
    with refused(1003):
        await ann.api.send(contact_id, "x" * 20_001)
    with refused(2009):
        await ann.api.send(contact_id, "a text", image="file/and-an-image")
    with refused(2009):
        await ann.api.send(contact_id, " ", thumbnail="file/and-an-image")
    for stranger in (ben, eve):
        with refused(403):
            await stranger.api.send(contact_id, "not my contact")
    for nobody in (2**62, 0, -1):
        with refused(2005):
            await ann.api.send(nobody, "to nobody")
    assert await ann.api.history(contact_id) == []


@pytest.mark.parametrize(
    "nothing", [{}, dict.fromkeys(("localId", "thumbnail", "image")), {"localId": "", "image": ""}]
)
async def test_nothing_but_a_text(register: Register, nothing: dict[str, str | None]) -> None:
    """Blank, and as long as a text may be: each comes back as it is."""
    ann, ben = await register(), await register(server=1)
    contact_id = await ann.befriend(ben)
    for text in (" ", "\n", "字" * 20_000, "\x00'\"\\%_;--"):
        message = await ann.api.call("POST", "/chat/send", json={"contactId": contact_id, "text": text, **nothing})
        assert (message["type"], message["text"], message["localId"]) == (1, text, "")
        assert (await ben.api.history(await ben.contact_id(ann), limit=1))[0]["text"] == text


async def test_an_image_with_an_empty_text(register: Register) -> None:
    ann, ben = await register(), await register(server=1)
    body = {"contactId": await ann.befriend(ben), "localId": 17, "text": "", "thumbnail": None, "image": "file/i"}
    message = await ann.api.call("POST", "/chat/send", json=body)
    assert (message["type"], message["image"], message["thumbnail"], message["localId"]) == (2, "file/i", "", "17")


async def test_a_retried_send_gives_the_same_message(register: Register) -> None:
    ann, ben = await register(), await register(server=1)
    contact_id = await ann.befriend(ben)
    async with ben.frontend() as bens:
        first = await ann.api.send(contact_id, "once", local_id="same")
        again = await ann.api.at(ben.api.base).send(contact_id, "once", local_id="same")
        last = await ann.api.send(contact_id, "afterwards", local_id="other")
        await bens.wait_for_message(last["messageId"])
        assert again["messageId"] == first["messageId"]
        assert bens.came == [1, 2]
        own = await ben.api.send(await ben.contact_id(ann), "mine", local_id="same")
        elsewhere = await ann.api.send(await ann.befriend(await register()), "in another room", local_id="same")
        ids = [message["messageId"] for message in (first, last, own, elsewhere)]
        assert len(set(ids)) == 4


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ({"text": "x" * 20}, "x" * 20),
        ({"text": "界" * 21}, "界" * 20 + "..."),
        ({"text": "🙂" * 21}, "🙂" * 20 + "..."),
        ({"thumbnail": "file/t"}, "[图片]"),
    ],
)
async def test_the_last_message_is_shown_at_the_contacts(register: Register, sent: dict[str, str], shown: str) -> None:
    ann, ben = await register(), await register(server=1)
    contact_id = await ann.befriend(ben)
    message = await ann.api.send(contact_id, **sent)
    for contact in (await ann.contact(ben), await ben.contact(ann)):
        assert contact["lastMessageId"] == message["messageId"]
        assert moment(contact["lastMessageTime"]) == moment(message["createdAt"])
        assert contact["lastMessageContent"] == shown


async def test_the_last_message_follows_the_newest_only(register: Register) -> None:
    ann, ben = await register(), await register(server=1)
    contact_id = await ann.befriend(ben)
    old = await ann.api.send(contact_id, "old")
    new = await ann.api.send(contact_id, "new")
    await ann.api.revoke(old["messageId"])
    assert (await ben.contact(ann))["lastMessageContent"] == "new"
    await ann.api.revoke(new["messageId"])
    contact = await ben.contact(ann)
    assert (contact["lastMessageId"], contact["lastMessageContent"]) == (new["messageId"], "[消息已撤回]")


async def test_history_goes_back_page_by_page_oldest_first(register: Register) -> None:
    ann, ben, eve = await register(), await register(server=1), await register()
    contact_id = await ann.befriend(ben)
    sent = [await ann.api.send(contact_id, f"{number}") for number in range(25)]
    newest = await ben.api.history(await ben.contact_id(ann))
    assert_shape(MESSAGE, *newest)
    assert [message["text"] for message in newest] == [str(number) for number in range(15, 25)]
    assert {message["localId"] for message in newest} == {""}
    older = await ann.api.history(contact_id, before=newest[0]["messageId"], limit=100)
    assert [content(message) for message in older] == [content(message) for message in sent[:15]]
    assert await ann.api.history(contact_id, before=sent[0]["messageId"]) == []
    for nothing in ({}, {"lastMessageId": 0}, {"lastMessageId": ""}, {"lastMessageId": "", "limit": ""}):
        assert await ann.api.call("GET", "/chat/messages", params={"contactId": contact_id, **nothing}) == [
            *await ann.api.history(contact_id, limit=10)
        ]
    assert len(await ann.api.history(contact_id, limit=1)) == 1
    for limit in (0, 101):
        with refused(1003):
            await ann.api.history(contact_id, limit=limit)
    with refused(403):
        await eve.api.history(contact_id)
    with refused(2005):
        await ann.api.history(2**62)


async def test_an_image_can_be_filled_in_once(register: Register) -> None:
    ann, ben = await register(), await register(server=1)
    contact_id = await ann.befriend(ben)
    waiting = await ann.api.send(contact_id, thumbnail="file/t")
    text = await ann.api.send(contact_id, "a text")
    with refused(403):
        await ben.api.fill_image(waiting["messageId"], "file/i")
    with refused(403):
        await ann.api.fill_image(text["messageId"], "file/i")
    for url in ("i", ""):
        with refused(1003):
            await ann.api.fill_image(waiting["messageId"], url)
    for unknown in (0, 2**62):
        with refused(403):
            await ann.api.fill_image(unknown, "file/i")
    await ann.api.fill_image(waiting["messageId"], "file/i")
    with refused(403):
        await ann.api.fill_image(waiting["messageId"], "file/j")
    image, _ = await ben.api.history(await ben.contact_id(ann))
    assert (image["image"], image["thumbnail"]) == ("file/i", "file/t")
    revoked = await ann.api.send(contact_id, thumbnail="file/t")
    await ann.api.revoke(revoked["messageId"])
    with refused(403):
        await ann.api.fill_image(revoked["messageId"], "file/i")


async def test_a_revoked_message_is_emptied_everywhere(register: Register) -> None:
    ann, ben = await register(), await register(server=1)
    contact_id = await ann.befriend(ben)
    text = await ann.api.send(contact_id, "regret")
    image = await ann.api.send(contact_id, image="file/i", thumbnail="file/t")
    for stranger, message_id in ((ben, text["messageId"]), (ann, 0), (ann, 2**62)):
        with refused(403):
            await stranger.api.revoke(message_id)
    async with ben.frontend() as bens:
        for message in (text, image):
            await ann.api.revoke(message["messageId"])
        messages = bens.messages
        for message_id in (text["messageId"], image["messageId"]):
            await bens.wait_for_message(message_id)
        await bens.wait_until(lambda: all(shown["revoked"] for shown in messages.values()), "the revocations")
        assert {message_id: shown["isNew"] for message_id, shown in messages.items()} == {
            text["messageId"]: False,
            image["messageId"]: False,
        }
    for message in await ben.api.history(await ben.contact_id(ann)):
        assert (message["revoked"], message["text"], message["image"], message["thumbnail"]) == (True, "", "", "")


async def test_a_message_can_not_be_revoked_after_its_time(register_hasty: Register) -> None:
    ann, ben = await register_hasty(), await register_hasty(server=1)
    message = await ann.api.send(await ann.befriend(ben), "too late")
    with refused(2007):
        await ann.api.revoke(message["messageId"])


async def test_sync_gives_what_lies_between_newest_first(register: Register) -> None:
    ann, ben = await register(), await register(server=1)
    contact_id = await ann.befriend(ben)
    sent = [await ann.api.send(contact_id, f"{number}", local_id=f"l{number}") for number in range(12)]
    await ann.api.revoke(sent[0]["messageId"])
    all_of_them = await ben.api.sync(0)
    assert_shape(MESSAGE, *all_of_them)
    assert [message["deliveryId"] for message in all_of_them] == list(range(13, 0, -1))
    assert all_of_them[0]["messageId"] == sent[0]["messageId"]
    assert all_of_them[0]["revoked"]
    assert {message["localId"] for message in all_of_them} == {""}
    assert [message["localId"] for message in (await ann.api.sync(1, last=4))] == ["l2", "l1"]
    assert [message["deliveryId"] for message in await ben.api.sync(2, last=12, limit=5)] == [11, 10, 9, 8, 7]
    assert [message["deliveryId"] for message in await ben.api.sync(2, last=7, limit=5)] == [6, 5, 4, 3]
    assert await ben.api.sync(13) == []
    for nothing in ({}, {"last": 0}, {"last": ""}):
        page = await ben.api.call("GET", "/chat/sync", params={"synced": 8, "limit": 5, **nothing})
        assert [message["deliveryId"] for message in page] == [13, 12, 11, 10, 9]
    assert len(await ben.api.sync(0, limit=5)) == 5
    for limit in (4, 51):
        with refused(1003):
            await ben.api.sync(0, limit=limit)
