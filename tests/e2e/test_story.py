"""The product's story: two people meet, chat, make a group, lose their connection and miss nothing."""

from contextlib import AsyncExitStack
from functools import partial

import aiohttp

from tests.e2e.shapes import CONTACT, CONTACT_REQUEST, NOTIFIED_MESSAGE, assert_shape, content
from tests.support.account import PASSWORD, Account
from tests.support.api import Api, png
from tests.support.cluster import Cluster
from tests.support.frontend import FrontendClient
from tests.support.register import Register


async def test_two_people_meet_and_chat_and_miss_nothing(cluster: Cluster, http: aiohttp.ClientSession) -> None:
    here, there = cluster.bases[0], cluster.bases[-1]
    picture = png()
    avatar = await Api(http, here).upload(picture)
    ann = await Account.register(http, here, nickname="安", avatar=avatar)
    ben = await Account.register(http, there, nickname="Ben")

    (found,) = await ann.api.search(ben.username)
    assert (found["nickname"], found["isFriend"], found["pendingRequest"]) == ("Ben", False, None)
    (shown,) = await ben.api.search(ann.username[:-1])
    assert shown["avatar"] == avatar
    assert (await ben.api.download(shown["avatar"]))[2] == picture

    async with ann.frontend() as anns, ben.frontend() as bens:
        request = await ann.api.ask(ben.user_id)
        await bens.wait_until(lambda: request["id"] in bens.requests, "the contact request")
        assert_shape(CONTACT_REQUEST, bens.requests[request["id"]])
        (pending,) = await ben.api.pending()
        await ben.api.accept(pending["id"])
        await anns.wait_until(lambda: anns.contacts, "the asker's contact")
        await bens.wait_until(lambda: bens.contacts, "the accepter's contact")
        (ann_to_ben,), (ben_to_ann,) = anns.contacts.values(), bens.contacts.values()
        assert_shape(CONTACT, ann_to_ben, ben_to_ann)
        assert (ann_to_ben["userId"], ben_to_ann["userId"]) == (ben.user_id, ann.user_id)

        await _chat(ann, ben, ann_to_ben["contactId"], ben_to_ann["contactId"])

        await _text_and_image(ann, ben, anns, bens)
        await _tunnel_and_reload(ann, ben, bens)
    again = await Api(http, there).login(ann.username, PASSWORD)
    assert again.user_id == ann.user_id


async def _text_and_image(ann: Account, ben: Account, anns: FrontendClient, bens: FrontendClient) -> None:
    ann_to_ben, ben_to_ann = await ann.contact_id(ben), await ben.contact_id(ann)
    sent = await ann.api.send(ann_to_ben, "你好, Ben", local_id="1")
    came = await bens.wait_for_message(sent["messageId"])
    assert_shape(NOTIFIED_MESSAGE, came)
    assert (came["text"], came["senderId"], came["isNew"]) == ("你好, Ben", ann.user_id, True)

    thumbnail = await ben.api.upload(png(size=(4, 4)))
    waiting = await ben.api.send(ben_to_ann, thumbnail=thumbnail)
    await anns.wait_for_message(waiting["messageId"])
    image = await ben.api.upload(png())
    await ben.api.fill_image(waiting["messageId"], image)
    await anns.wait_until(lambda: anns.messages[waiting["messageId"]]["image"] == image, "the image")
    assert (await ann.api.download(image))[2] == png()

    await ann.api.revoke(sent["messageId"])
    await bens.wait_until(lambda: bens.messages[sent["messageId"]]["revoked"], "the revocation")
    assert bens.messages[sent["messageId"]]["text"] == ""


async def _tunnel_and_reload(ann: Account, ben: Account, bens: FrontendClient) -> None:
    ann_to_ben, ben_to_ann = await ann.contact_id(ben), await ben.contact(ann)
    # Ben's train goes through a tunnel: his session waits for him
    bens.stay_away = True
    await bens.drop()
    missed = [await ann.api.send(ann_to_ben, f"tunnel {number}") for number in range(20)]
    bens.stay_away = False
    await bens.wait_for_texts({message["text"] for message in missed})
    assert bens.openings[-1].resumed

    # he reloads the page: a new session, which catches up from the last that came
    bens.stay_away = True
    await bens.drop()
    bens.forget_session()
    missed = [await ann.api.send(ann_to_ben, f"reload {number}") for number in range(70)]
    bens.stay_away = False
    await bens.wait_for_texts({message["text"] for message in missed})
    assert [opening.resumed for opening in bens.openings[-2:]] == [True, False]

    history = await ben.api.whole_history(ben_to_ann["contactId"])
    assert [content(message) for message in history] == [
        content(message) for message in bens.room(ben_to_ann["roomId"])
    ]


async def _chat(ann: Account, ben: Account, ann_to_ben: int, ben_to_ann: int) -> None:
    """Each sees the other's messages in the order in which they were answered."""
    async with ann.frontend() as anns, ben.frontend() as bens:
        for number in range(10):
            await ann.api.send(ann_to_ben, f"question {number}")
            await bens.wait_for_texts({f"question {number}"})
            await ben.api.send(ben_to_ann, f"answer {number}")
            await anns.wait_for_texts({f"answer {number}"})
        said = [f"{what} {number}" for number in range(10) for what in ("question", "answer")]
        assert [message["text"] for message in await ann.api.history(ann_to_ben, limit=20)] == said


async def test_a_group_of_people_on_two_servers(register: Register) -> None:
    owner, *friends = [await register(server=number) for number in range(5)]
    contact_ids = [await owner.befriend(friend) for friend in friends]
    everybody = [owner, *friends]
    async with AsyncExitStack() as stack:
        devices = [await stack.enter_async_context(person.frontend()) for person in everybody]
        await owner.api.make_group("hiking", contact_ids)
        for device in devices:
            await device.wait_until(partial(bool, device.contacts), "the group's contact")
        for number, person in enumerate(everybody):
            contact = await person.group_contact("hiking")
            assert len(await person.api.members(contact["contactId"])) == 5
            await person.api.send(contact["contactId"], f"hello from {number}")
        for device in devices:
            await device.wait_for_texts({f"hello from {number}" for number in range(5)})


async def test_every_device_of_a_user_gets_everything(register: Register, cluster: Cluster) -> None:
    ann, ben = await register(), await register(server=1)
    contact_id = await ann.befriend(ben)
    phone, laptop = await ben.log_in(), await ben.log_in(cluster.bases[0])
    async with ann.frontend() as other, ben.frontend() as one, phone.frontend() as two, laptop.frontend() as three:
        sent = await ann.api.send(contact_id, "to all your devices", local_id="mine")
        for device in (one, two, three):
            message = await device.wait_for_message(sent["messageId"])
            assert message["localId"] == ""
        own = await other.wait_for_message(sent["messageId"])
        assert own["localId"] == "mine"
        assert len({device.session_id for device in (other, one, two, three)}) == 4
