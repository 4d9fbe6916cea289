"""What two do at once, in one process and in two."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from server.errors import ApiError, ErrorCode
from server.store import SendResult, Store
from tests.store.conftest import TestClock
from tests.store.people import befriend, everything, group, ids, pair, picture, register, text

ROUNDS = 8


async def _race(*actions: Awaitable[Any]) -> tuple[list[Any], list[ErrorCode]]:
    """What the winners got, and the losers' errors."""
    outcomes = await asyncio.gather(*actions, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, ApiError):
            raise outcome
    won = [outcome for outcome in outcomes if not isinstance(outcome, ApiError)]
    return won, [outcome.code for outcome in outcomes if isinstance(outcome, ApiError)]


async def test_one_request_accepted_twice_makes_one_friendship(store: Store, second_store: Store) -> None:
    for _ in range(ROUNDS):
        ann, bob = await register(store), await register(store)
        request = await store.contacts.request(ann, bob)
        won, lost = await _race(*(s.contacts.accept(request.id, bob) for s in (store, second_store)))
        assert (len(won), lost) == (1, [ErrorCode.REQUEST_HANDLED])
        for user_id in (ann, bob):
            assert len(await store.contacts.of_owner(user_id)) == 1


async def test_two_who_add_each_other_at_once_have_one_request(store: Store, second_store: Store) -> None:
    for _ in range(ROUNDS):
        ann, bob = await register(store), await register(store)
        won, lost = await _race(store.contacts.request(ann, bob), second_store.contacts.request(bob, ann))
        assert (len(won), lost) == (1, [ErrorCode.REQUEST_PENDING])
        assert [*await store.contacts.pending_for(ann), *await store.contacts.pending_for(bob)] == won


async def test_accepting_and_rejecting_at_once_does_one_of_them(store: Store, second_store: Store) -> None:
    for _ in range(ROUNDS):
        ann, bob = await register(store), await register(store)
        request = await store.contacts.request(ann, bob)
        won, lost = await _race(store.contacts.accept(request.id, bob), second_store.contacts.reject(request.id, bob))
        assert (len(won), lost) == (1, [ErrorCode.REQUEST_HANDLED])
        assert len(await store.contacts.of_owner(ann)) == (1 if isinstance(won[0], list) else 0)


async def test_one_name_registered_twice_has_one_user(store: Store, second_store: Store) -> None:
    for number in range(ROUNDS):
        names = (f"race {number}", f"RACE {number}")
        won, lost = await _race(*(s.users.create(n, "h", "n", "") for s in (store, second_store) for n in names))
        assert (len(won), lost) == (1, [ErrorCode.USERNAME_TAKEN] * 3)


async def test_revoking_and_filling_in_an_image_at_once(store: Store, second_store: Store, clock: TestClock) -> None:
    mine, theirs = await pair(store)
    await store.files.add("small", 1, "image/png")
    await store.files.add("large", 1, "image/png")
    expected: list[bool] = []
    for _ in range(ROUNDS):
        sent = (await store.messages.send(picture(mine, thumbnail="file/small"))).message
        won, lost = await _race(
            store.messages.revoke(sent.message_id, mine.owner_id, clock.now()),
            second_store.messages.fill_image(sent.message_id, mine.owner_id, "file/large", clock.now()),
        )
        message = await store.messages.get(sent.message_id)
        assert message is not None
        assert (message.revoked, message.image, message.thumbnail) == (True, "", "")
        assert lost in ([], [ErrorCode.FORBIDDEN]), "filled in first, or too late"
        expected += [True] + [False] * len(won)
    deliveries = await everything(store, theirs.owner_id)
    assert ids(deliveries) == list(range(1, len(expected) + 1))
    assert [delivery.is_new for delivery in deliveries] == expected
    clock.advance(1)
    assert sorted(await store.files.unreferenced(clock.now(), 9)) == ["large", "small"]


async def test_two_first_wallpapers_at_once(store: Store, second_store: Store, clock: TestClock) -> None:
    await store.files.add("one", 1, "image/png")
    await store.files.add("two", 1, "image/png")
    user_id = await register(store)
    await asyncio.gather(
        store.settings.set_wallpaper(user_id, "file/one"), second_store.settings.set_wallpaper(user_id, "file/two")
    )
    clock.advance(1)
    kept = await store.settings.wallpaper(user_id)
    assert await store.files.unreferenced(clock.now(), 9) == [{"file/one": "two", "file/two": "one"}[kept or ""]]


async def test_a_local_id_sent_twice_at_once_gives_one_message(store: Store, second_store: Store) -> None:
    mine, theirs = await pair(store)
    for number in range(ROUNDS):
        request = text(mine, "hello", f"local {number}")
        results: list[SendResult] = await asyncio.gather(
            *(s.messages.send(request) for s in (store, second_store, store, second_store))
        )
        assert sorted(result.created for result in results) == [False, False, False, True]
        assert len({result.message.message_id for result in results}) == 1
    assert ids(await everything(store, theirs.owner_id)) == list(range(1, ROUNDS + 1))


@pytest.mark.parametrize("batched", [True, False])
async def test_no_delivery_is_skipped_by_a_receiver_who_reads_all_the_while(
    store: Store, second_store: Store, *, batched: bool
) -> None:
    """Many send to one, in two processes; whoever reads what is above the last id seen finds the next ids, no gap."""
    receiver = await register(store)
    senders = [await befriend(store, await register(store), receiver) for _ in range(12)]
    together = (await group(store, 3))[0]
    done = asyncio.Event()

    async def send(number: int) -> None:
        of_process = (store, second_store)[number % 2]
        for _ in range(12):
            await of_process.messages.send(text(senders[number]))
            if not batched:
                await asyncio.sleep(0)
            await of_process.messages.send(text(together))

    async def read(of_process: Store) -> list[int]:
        seen: list[int] = []
        while True:
            last = done.is_set()
            new = ids(await of_process.deliveries.between(receiver, len(seen), 2**62, 1000))
            head = (await of_process.deliveries.heads([receiver]))[receiver]
            assert head >= len(seen) + len(new)
            seen += new
            assert seen == list(range(1, len(seen) + 1)), "a gap, or a step back"
            if last:
                return seen

    readers = [asyncio.create_task(read(of_process)) for of_process in (store, second_store)]
    await asyncio.gather(*map(send, range(len(senders))))
    done.set()
    assert [len(seen) for seen in await asyncio.gather(*readers)] == [12 * 12] * 2
    others = await everything(store, together.owner_id)
    assert ids(others) == list(range(1, 12 * 12 + 1))
    messages = [delivery.message.message_id for delivery in others]
    assert messages == sorted(messages), "in a room, messages are numbered in the order they were committed"
