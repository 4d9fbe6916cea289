"""Requests, contacts and groups, row by row of the contract."""

import asyncio
from datetime import UTC, datetime, timedelta

from tests.e2e.shapes import CONTACT, CONTACT_REQUEST, GROUP, USER, assert_shape, moment, refused
from tests.support.register import Register


async def test_a_request_waits_for_the_one_who_is_asked(register: Register) -> None:
    ann, ben = await register(), await register(server=1)
    request = await ann.api.ask(ben.user_id)
    assert_shape(CONTACT_REQUEST, request)
    assert (request["requestUid"], request["userId"], request["status"]) == (ann.user_id, ben.user_id, 1)
    lifetime = moment(request["expiredAt"]) - moment(request["createdAt"])
    assert abs(lifetime - timedelta(hours=24)) < timedelta(seconds=2)
    assert await ben.api.pending() == [request]
    assert await ann.api.pending() == []


async def test_pending_requests_come_newest_first(register: Register) -> None:
    ben = await register()
    askers = [await register(server=number) for number in range(3)]
    for asker in askers:
        await asker.api.ask(ben.user_id)
    asked = [request["requestUid"] for request in await ben.api.pending()]
    assert asked == [asker.user_id for asker in reversed(askers)]


async def test_who_can_be_asked(register: Register) -> None:
    ann, ben, eve = await register(), await register(server=1), await register()
    for nobody in (2**62, 0, -1):
        with refused(1001):
            await ann.api.ask(nobody)
    with refused(1003):
        await ann.api.ask(ann.user_id)
    request = await ann.api.ask(ben.user_id)
    with refused(2002):
        await ann.api.ask(ben.user_id)
    with refused(2002):
        await ben.api.ask(ann.user_id)
    for stranger in (ann, eve):
        with refused(2003):
            await stranger.api.accept(request["id"])
        with refused(2003):
            await stranger.api.reject(request["id"])
    with refused(2003):
        await ben.api.accept(2**62)
    await ben.api.accept(request["id"])
    for end in (ben.api.accept, ben.api.reject):
        with refused(2004):
            await end(request["id"])
    with refused(2001):
        await ann.api.ask(ben.user_id)
    with refused(2001):
        await ben.api.ask(ann.user_id)


async def test_a_rejected_request_leaves_no_contact_and_may_be_made_again(register: Register) -> None:
    ann, ben = await register(), await register(server=1)
    request = await ann.api.ask(ben.user_id)
    await ben.api.reject(request["id"])
    with refused(2004):
        await ben.api.accept(request["id"])
    assert await ann.api.contacts() == await ben.api.contacts() == await ben.api.pending() == []
    assert (await ann.api.ask(ben.user_id))["status"] == 1


async def test_an_expired_request_can_not_be_accepted(register_hasty: Register) -> None:
    ann, ben = await register_hasty(), await register_hasty(server=1)
    request = await ann.api.ask(ben.user_id)
    await asyncio.sleep((moment(request["expiredAt"]) - datetime.now(UTC)).total_seconds() + 0.1)
    for answer in (ben.api.accept, ben.api.reject):
        with refused(2006):
            await answer(request["id"])
    assert await ben.api.pending() == []
    (found,) = await ann.api.search(ben.username)
    assert found["pendingRequest"] is None
    assert (await ann.api.ask(ben.user_id))["id"] != request["id"]


async def test_accepting_makes_one_room_and_a_contact_for_each(register: Register) -> None:
    ann, ben = await register(), await register(server=1)
    await ann.befriend(ben)
    anns, bens = await ann.contact(ben), await ben.contact(ann)
    assert_shape(CONTACT, anns, bens)
    assert anns["contactId"] != bens["contactId"]
    assert anns["roomId"] == bens["roomId"]
    for contact, owner, other in ((anns, ann, ben), (bens, ben, ann)):
        assert (contact["ownerId"], contact["userId"], contact["groupId"]) == (owner.user_id, other.user_id, 0)
        assert (contact["lastMessageId"], contact["lastMessageTime"], contact["lastMessageContent"]) == (0, None, "")


async def test_contacts_come_last_changed_first(register: Register) -> None:
    ann = await register()
    friends = [await register(server=number) for number in range(3)]
    contact_ids = [await ann.befriend(friend) for friend in friends]
    assert [contact["contactId"] for contact in await ann.api.contacts()] == contact_ids[::-1]
    await friends[0].api.send(await friends[0].contact_id(ann), "up")
    assert [contact["contactId"] for contact in await ann.api.contacts()] == [
        contact_ids[0],
        contact_ids[2],
        contact_ids[1],
    ]


async def test_members_of_a_contact(register: Register) -> None:
    ann, ben, eve = await register(), await register(server=1), await register()
    contact_id = await ann.befriend(ben)
    users = await ann.api.members(contact_id)
    assert_shape(USER, *users)
    assert {user["userId"] for user in users} == {ann.user_id, ben.user_id}
    with refused(403):
        await eve.api.members(contact_id)
    with refused(2005):
        await ann.api.members(2**62)


async def test_a_group_gives_each_member_a_contact(register: Register) -> None:
    owner, *friends = [await register(server=number) for number in range(4)]
    contact_ids = [await owner.befriend(friend) for friend in friends]
    await owner.api.make_group("旅行", contact_ids, avatar="file/abc")
    contacts = [await member.group_contact("旅行") for member in (owner, *friends)]
    assert_shape(CONTACT, *contacts)
    assert len({contact["roomId"] for contact in contacts}) == 1
    assert len({contact["contactId"] for contact in contacts}) == 4
    assert {contact["userId"] for contact in contacts} == {0}
    group_id = contacts[0]["groupId"]
    for member, contact in zip((owner, *friends), contacts, strict=True):
        (group,) = await member.api.groups([group_id])
        assert group is not None
        assert_shape(GROUP, group)
        assert (group["name"], group["avatar"], group["ownerId"]) == ("旅行", "file/abc", owner.user_id)
        assert group["roomId"] == contact["roomId"]
        members = await member.api.members(contact["contactId"])
        assert {user["userId"] for user in members} == {user.user_id for user in (owner, *friends)}


async def test_groups_come_in_the_order_asked_and_only_mine(register: Register) -> None:
    ann, ben, eve = await register(), await register(server=1), await register()
    contact_id = await ann.befriend(ben)
    for name in ("one", "two"):
        await ann.api.make_group(name, [contact_id])
    one, two = [(await ben.group_contact(name))["groupId"] for name in ("one", "two")]
    groups = await ben.api.groups([two, 2**62, one])
    assert [group and group["name"] for group in groups] == ["two", None, "one"]
    assert await eve.api.groups([one, two]) == [None, None]


async def test_what_a_group_can_be_made_of(register: Register) -> None:
    ann, ben, eve = await register(), await register(server=1), await register()
    contact_id = await ann.befriend(ben)
    evens = await eve.befriend(ben)
    await ann.api.make_group("a group", [contact_id])
    group_contact = (await ann.group_contact("a group"))["contactId"]
    for wrong in ([], [contact_id] * 101, [group_contact], [contact_id, group_contact]):
        with refused(1003):
            await ann.api.make_group("of nobody, too many, or groups", wrong)
    with refused(403):
        await ann.api.make_group("another's contact", [contact_id, evens])
    with refused(2005):
        await ann.api.make_group("unknown", [contact_id, 2**62])
    for name in ("", "x" * 51):
        with refused(1003):
            await ann.api.make_group(name, [contact_id])
    with refused(1003):
        await ann.api.make_group("bad avatar", [contact_id], avatar="x")
    assert len([contact for contact in await ann.api.contacts() if contact["groupId"]]) == 1
    await ann.api.make_group("x" * 50, [contact_id] * 100)
    assert len(await ann.api.members((await ann.group_contact("x" * 50))["contactId"])) == 2, "named often, there once"
