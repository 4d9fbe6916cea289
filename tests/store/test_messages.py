"""Sending, reading and changing messages, and what is delivered."""

import asyncio

import pytest

from server.errors import ApiError, ErrorCode
from server.model.enums import MessageType
from server.store import SendRequest, Store
from tests.store.conftest import TestClock
from tests.store.people import befriend, everything, group, ids, pair, picture, register, say, text


async def test_a_message_reaches_every_member_the_sender_included(store: Store, clock: TestClock) -> None:
    mine, theirs = await pair(store)
    result = await store.messages.send(text(mine, "hello 😀 'quoted' 100% \\ back", "local"))
    message = result.message
    assert result.created
    assert (message.sender_id, message.room_id, message.type) == (mine.owner_id, mine.room_id, MessageType.TEXT)
    assert (message.text, message.local_id) == ("hello 😀 'quoted' 100% \\ back", "local")
    assert message.created_at == message.updated_at == clock.now()
    assert {delivery.receiver_id for delivery in result.deliveries} == {mine.owner_id, theirs.owner_id}
    assert await store.messages.get(message.message_id) == message
    for user_id in (mine.owner_id, theirs.owner_id):
        assert await everything(store, user_id) == [d for d in result.deliveries if d.receiver_id == user_id]
    assert await store.messages.history(mine.room_id, None, 10, viewer=mine.owner_id) == [message]


async def test_a_group_message_reaches_a_hundred(store: Store) -> None:
    contacts = await group(store, 100)
    result = await say(store, contacts[7])
    assert sorted(delivery.receiver_id for delivery in result.deliveries) == sorted(c.owner_id for c in contacts)
    heads = await store.deliveries.heads([contact.owner_id for contact in contacts])
    assert heads == {delivery.receiver_id: delivery.delivery_id for delivery in result.deliveries}


@pytest.mark.parametrize("together", [1, 20])
async def test_only_ones_own_contacts_can_be_sent_to(store: Store, together: int) -> None:
    """Alone, and in a batch with others that are in order."""
    mine, theirs = await pair(store)
    bad = [
        SendRequest(mine.owner_id, theirs.contact_id, "a", MessageType.TEXT, "x", "", ""),
        SendRequest(mine.owner_id, 10**12, "b", MessageType.TEXT, "x", "", ""),
    ]
    good = [text(mine) for _ in range(together - 1)]
    outcomes = await asyncio.gather(*map(store.messages.send, [*bad, *good]), return_exceptions=True)
    errors = [outcome.code for outcome in outcomes[:2] if isinstance(outcome, ApiError)]
    assert errors == [ErrorCode.FORBIDDEN, ErrorCode.CONTACT_NOT_FOUND]
    assert not any(isinstance(outcome, BaseException) for outcome in outcomes[2:])
    assert ids(await everything(store, theirs.owner_id)) == list(range(1, together))


async def test_a_send_that_the_database_refuses_harms_no_other(store: Store) -> None:
    mine, theirs = await pair(store)
    unstorable = text(mine, "x", "\ud800")  # can't be encoded
    outcomes = await asyncio.gather(
        *map(store.messages.send, [text(mine), unstorable, text(mine), text(theirs)]), return_exceptions=True
    )
    assert [isinstance(outcome, BaseException) for outcome in outcomes] == [False, True, False, False]
    assert ids(await everything(store, theirs.owner_id)) == [1, 2, 3]


async def test_a_repeated_local_id_gives_the_first_message(store: Store) -> None:
    mine, theirs = await pair(store)
    first = await store.messages.send(text(mine, "once", "local"))
    again = await store.messages.send(text(mine, "twice", "local"))
    assert (again.message, again.created, again.deliveries) == (first.message, False, [])
    others = await store.messages.send(text(theirs, "once", "local"))
    assert others.created, "a local id is its sender's"
    elsewhere = await befriend(store, mine.owner_id, await register(store))
    assert (await store.messages.send(text(elsewhere, "once", "local"))).created, "and its room's"
    assert ids(await everything(store, mine.owner_id)) == [1, 2, 3]


async def test_a_local_id_repeated_in_one_batch_gives_one_message(store: Store) -> None:
    mine, theirs = await pair(store)
    elsewhere = await befriend(store, mine.owner_id, await register(store))
    sends = [text(mine, "a", "same"), text(mine, "b", "other"), text(mine, "c", "same"), text(theirs, "d", "same")] * 3
    sends += [text(elsewhere, "e", "same"), text(mine, "f", "same  ")]
    results = await asyncio.gather(*map(store.messages.send, sends))
    assert sum(result.created for result in results) == 4
    assert len({result.message.message_id for result in results}) == 4
    assert ids(await everything(store, mine.owner_id)) == [1, 2, 3, 4]


async def test_sends_without_a_local_id_are_all_different(store: Store) -> None:
    mine, _ = await pair(store)
    sends = [text(mine, "same", local_id) for local_id in ("", "", "", " ", " ")]
    results = await asyncio.gather(*map(store.messages.send, sends))
    assert len({result.message.message_id for result in results}) == 5


async def test_long_texts_keep_their_order_in_a_batch(store: Store) -> None:
    """Together they are longer than what the MySQL driver puts into one statement."""
    mine, _ = await pair(store)
    contents = [f"{number} " + "😀\\'" * 6_000 for number in range(60)]
    results = await asyncio.gather(*(store.messages.send(text(mine, content)) for content in contents))
    for content, result in zip(contents, results, strict=True):
        message = await store.messages.get(result.message.message_id)
        assert message is not None
        assert message.text == content
    assert ids(await everything(store, mine.owner_id)) == list(range(1, 61))


async def test_history_pages_backwards(store: Store) -> None:
    mine, theirs = await pair(store)
    sent = [(await say(store, mine, str(number))).message for number in range(5)]
    viewer = theirs.owner_id
    assert await store.messages.history(mine.room_id, None, 2, viewer) == sent[3:]
    assert await store.messages.history(mine.room_id, sent[3].message_id, 2, viewer) == sent[1:3]
    assert await store.messages.history(mine.room_id, sent[1].message_id, 2, viewer) == sent[:1]
    assert await store.messages.history(mine.room_id, None, 2, await register(store)) == [], "not a member"


async def test_revoking_empties_a_message_and_tells_everybody(store: Store, clock: TestClock) -> None:
    mine, theirs = await pair(store)
    sent = (await store.messages.send(picture(mine, "https://example.org/a", "https://example.org/b"))).message
    clock.advance(120)
    change = await store.messages.revoke(sent.message_id, mine.owner_id, clock.now())
    assert change.message.revoked
    assert (change.message.text, change.message.image, change.message.thumbnail) == ("", "", "")
    assert change.message.updated_at == clock.now()
    assert await store.messages.get(sent.message_id) == change.message
    assert [(d.delivery_id, d.is_new, d.message) for d in await everything(store, theirs.owner_id)] == [
        (1, True, change.message),
        (2, False, change.message),
    ]
    again = await store.messages.revoke(sent.message_id, mine.owner_id, clock.now())
    assert (again.message, again.deliveries) == (change.message, [])


async def test_what_can_not_be_revoked(store: Store, clock: TestClock) -> None:
    mine, theirs = await pair(store)
    sent = (await say(store, mine)).message

    async def code(message_id: int, me: int) -> ErrorCode:
        with pytest.raises(ApiError) as raised:
            await store.messages.revoke(message_id, me, clock.now())
        return raised.value.code

    assert await code(sent.message_id, theirs.owner_id) is ErrorCode.FORBIDDEN
    assert await code(sent.message_id + 1000, mine.owner_id) is ErrorCode.FORBIDDEN
    clock.advance(120.001)
    assert await code(sent.message_id, mine.owner_id) is ErrorCode.REVOKE_TOO_LATE
    assert ids(await everything(store, mine.owner_id)) == [1]


async def test_an_image_is_filled_in_once(store: Store, clock: TestClock) -> None:
    mine, theirs = await pair(store)
    sent = (await store.messages.send(picture(mine, thumbnail="file/small.png"))).message
    worded = (await say(store, mine)).message
    clock.advance(1)

    async def code(message_id: int, me: int) -> ErrorCode:
        with pytest.raises(ApiError) as raised:
            await store.messages.fill_image(message_id, me, "file/x.png", clock.now())
        return raised.value.code

    assert await code(sent.message_id, theirs.owner_id) is ErrorCode.FORBIDDEN
    assert await code(worded.message_id, mine.owner_id) is ErrorCode.FORBIDDEN
    change = await store.messages.fill_image(sent.message_id, mine.owner_id, "file/large.png", clock.now())
    assert (change.message.image, change.message.thumbnail) == ("file/large.png", "file/small.png")
    assert {delivery.is_new for delivery in change.deliveries} == {False}
    assert await code(sent.message_id, mine.owner_id) is ErrorCode.FORBIDDEN
    empty = (await store.messages.send(picture(mine, thumbnail="file/small.png"))).message
    await store.messages.revoke(empty.message_id, mine.owner_id, clock.now())
    assert await code(empty.message_id, mine.owner_id) is ErrorCode.FORBIDDEN


async def test_sync_gives_what_is_between_two_cursors_newest_first(store: Store) -> None:
    mine, theirs = await pair(store)
    for number in range(6):
        await say(store, mine, str(number))
    me = theirs.owner_id
    assert ids(await store.deliveries.sync(me, 0, None, 4)) == [6, 5, 4, 3]
    assert ids(await store.deliveries.sync(me, 0, 3, 4)) == [2, 1]
    assert ids(await store.deliveries.sync(me, 4, None, 4)) == [6, 5]
    assert ids(await store.deliveries.between(me, 2, 5, 2)) == [3, 4]
    assert ids(await store.deliveries.between(me, 5, 5, 2)) == []


async def test_heads_are_zero_for_those_who_got_nothing(store: Store) -> None:
    mine, theirs = await pair(store)
    lonely = await register(store)
    await say(store, mine)
    assert await store.deliveries.heads([mine.owner_id, theirs.owner_id, lonely]) == {
        mine.owner_id: 1,
        theirs.owner_id: 1,
        lonely: 0,
    }
    assert await store.deliveries.heads([]) == {}


async def test_a_pair_that_comes_back_together_keeps_its_room(store: Store) -> None:
    ann, bob = await register(store), await register(store)
    contact = await befriend(store, ann, bob)
    await say(store, contact)
    assert [m.room_id for m in await store.messages.history(contact.room_id, None, 5, viewer=bob)] == [contact.room_id]
