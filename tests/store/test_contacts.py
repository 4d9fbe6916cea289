"""Contact requests, contacts and groups."""

import pytest

from server.errors import ApiError, ErrorCode
from server.model.enums import RequestStatus
from server.store import Store
from tests.store.conftest import TestClock
from tests.store.people import befriend, group, picture, register, say


async def test_asking_and_accepting_makes_both_contacts_in_one_room(store: Store, clock: TestClock) -> None:
    ann, bob = await register(store), await register(store)
    request = await store.contacts.request(ann, bob)
    assert (request.request_uid, request.user_id, request.status) == (ann, bob, RequestStatus.PENDING)
    assert (request.expired_at - clock.now()).total_seconds() == 24 * 3600
    assert await store.contacts.pending_for(bob) == [request]
    assert await store.contacts.pending_for(ann) == []
    clock.advance(1)
    made = await store.contacts.accept(request.id, bob)
    assert {(contact.owner_id, contact.user_id) for contact in made} == {(ann, bob), (bob, ann)}
    assert len({contact.room_id for contact in made}) == 1
    assert await store.contacts.pending_for(bob) == []
    (mine,) = await store.contacts.of_owner(ann)
    assert mine in made
    assert await store.contacts.get(mine.contact_id) == mine
    assert [user.user_id for user in await store.contacts.members(mine)] == [ann, bob]
    assert await store.contacts.member_ids(mine.room_id) == [ann, bob]


async def _code(store: Store, from_uid: int, to_uid: int) -> ErrorCode:
    with pytest.raises(ApiError) as raised:
        await store.contacts.request(from_uid, to_uid)
    return raised.value.code


async def test_what_can_not_be_asked(store: Store) -> None:
    ann, bob, cem = await register(store), await register(store), await register(store)
    assert await _code(store, ann, ann) is ErrorCode.FIELD_INVALID
    assert await _code(store, ann, 10**12) is ErrorCode.USER_NOT_FOUND
    await store.contacts.request(ann, bob)
    assert await _code(store, ann, bob) is ErrorCode.REQUEST_PENDING
    assert await _code(store, bob, ann) is ErrorCode.REQUEST_PENDING
    await befriend(store, ann, cem)
    assert await _code(store, ann, cem) is ErrorCode.CONTACT_EXISTS
    assert await _code(store, cem, ann) is ErrorCode.CONTACT_EXISTS


async def test_what_can_not_be_answered(store: Store, clock: TestClock) -> None:
    ann, bob = await register(store), await register(store)
    request = await store.contacts.request(ann, bob)

    async def code(request_id: int, me: int) -> set[ErrorCode]:
        codes = set()
        for answer in (store.contacts.accept, store.contacts.reject):
            with pytest.raises(ApiError) as raised:
                await answer(request_id, me)
            codes.add(raised.value.code)
        return codes

    assert await code(request.id, ann) == {ErrorCode.REQUEST_NOT_FOUND}
    assert await code(request.id + 1, bob) == {ErrorCode.REQUEST_NOT_FOUND}
    rejected = await store.contacts.reject(request.id, bob)
    assert rejected.status is RequestStatus.REJECTED
    assert await code(request.id, bob) == {ErrorCode.REQUEST_HANDLED}
    again = await store.contacts.request(bob, ann)
    clock.advance(24 * 3600)
    assert await store.contacts.pending_for(ann) == []
    assert await code(again.id, ann) == {ErrorCode.REQUEST_EXPIRED}
    third = await store.contacts.request(ann, bob)
    await store.contacts.accept(third.id, bob)
    assert await code(third.id, bob) == {ErrorCode.REQUEST_HANDLED}


async def test_pending_requests_come_newest_first(store: Store) -> None:
    me = await register(store)
    requests = [await store.contacts.request(await register(store), me) for _ in range(3)]
    assert await store.contacts.pending_for(me) == requests[::-1]


async def test_a_contact_follows_the_newest_message_of_its_room(store: Store, clock: TestClock) -> None:
    ann, bob, cem = await register(store), await register(store), await register(store)
    with_bob, with_cem = await befriend(store, ann, bob), await befriend(store, ann, cem)
    assert [contact.user_id for contact in await store.contacts.of_owner(ann)] == [cem, bob]
    clock.advance(1)
    await say(store, with_bob, "一二三四五六七八九十一二三四五六七八九十")
    clock.advance(1)
    sent = await say(store, with_bob, "一二三四五六七八九十一二三四五六七八九十一")
    first, second = await store.contacts.of_owner(ann)
    assert first.user_id == bob
    assert first.last_message_id == sent.message.message_id
    assert first.last_message_time == first.updated_at == clock.now()
    assert first.last_message_content == "一二三四五六七八九十一二三四五六七八九十..."
    assert (second.last_message_id, second.last_message_time, second.last_message_content) == (0, None, "")
    clock.advance(1)
    await store.messages.send(picture(with_cem, "https://example.org/a.png"))
    assert [contact.last_message_content for contact in await store.contacts.of_owner(cem)] == ["[图片]"]
    clock.advance(1)
    await store.messages.revoke(sent.message.message_id, ann, clock.now())
    first = (await store.contacts.of_owner(bob))[0]
    assert first.last_message_content == "[消息已撤回]"
    assert first.last_message_time == sent.message.created_at
    assert first.updated_at == clock.now()


async def test_revoking_an_older_message_leaves_the_contact_as_it_is(store: Store, clock: TestClock) -> None:
    contact = await befriend(store, await register(store), await register(store))
    older = await say(store, contact, "older")
    await say(store, contact, "newest")
    before = await store.contacts.get(contact.contact_id)
    clock.advance(1)
    await store.messages.revoke(older.message.message_id, contact.owner_id, clock.now())
    assert await store.contacts.get(contact.contact_id) == before


async def test_a_group_gives_each_member_a_contact(store: Store) -> None:
    owner = await register(store)
    friends = [await register(store) for _ in range(3)]
    contacts = [await befriend(store, owner, friend) for friend in friends]
    made = await store.groups.create(
        owner, "together 😀", "https://example.org/g.png", [c.contact_id for c in contacts]
    )
    assert [contact.owner_id for contact in made] == [owner, *friends]
    assert {contact.user_id for contact in made} == {0}
    (group_id,) = {contact.group_id for contact in made}
    groups = await store.groups.by_ids([group_id, group_id + 1], me=friends[0])
    assert (groups[group_id].name, groups[group_id].owner_id) == ("together 😀", owner)
    assert groups[group_id].room_id == made[0].room_id
    assert await store.groups.by_ids([group_id], me=await register(store)) == {}
    assert [user.user_id for user in await store.contacts.members(made[1])] == [owner, *friends]


async def test_a_group_is_made_of_ones_own_contacts(store: Store) -> None:
    owner, other = await register(store), await register(store)
    mine = await befriend(store, owner, other)
    theirs = next(iter(await store.contacts.of_owner(other)))
    some_group = (await group(store, 2))[0]
    for contact_id, code in (
        (theirs.contact_id, ErrorCode.FORBIDDEN),
        (some_group.contact_id + 1000, ErrorCode.CONTACT_NOT_FOUND),
    ):
        with pytest.raises(ApiError) as raised:
            await store.groups.create(owner, "g", "", [mine.contact_id, contact_id])
        assert raised.value.code is code
    own_group = (await store.groups.create(owner, "g", "", [mine.contact_id]))[0]
    with pytest.raises(ApiError) as raised:
        await store.groups.create(owner, "g", "", [own_group.contact_id])
    assert raised.value.code is ErrorCode.FIELD_INVALID


async def test_what_changed_since_is_found_again(store: Store, clock: TestClock) -> None:
    ann, bob, cem = await register(store), await register(store), await register(store)
    await befriend(store, ann, bob)
    clock.advance(1)
    moment = clock.now()
    request = await store.contacts.request(cem, bob)
    new = await befriend(store, ann, cem)
    assert await store.contacts.changed_since([ann, bob], moment) == [new]
    assert await store.contacts.requests_changed_since([ann, bob, cem], moment) == [request]
    assert await store.contacts.changed_since([], moment) == []
