"""What is asked often takes a number of statements that doesn't grow with the rows."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event

from server.clock import SystemClock
from server.config.settings import Settings
from server.model.entities import Contact
from server.store import Store, open_store
from tests.store.people import befriend, group, register, say


@contextmanager
def counted() -> Iterator[list[str]]:
    """Statements that the engines send."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@pytest.fixture
async def live(settings: Settings) -> AsyncIterator[Store]:
    store = await open_store(settings, SystemClock())
    yield store
    await store.close()


async def _counts(store: Store, calls: dict[str, Callable[[], Awaitable[object]]]) -> dict[str, int]:
    counts = {}
    for name, call in calls.items():
        with counted() as statements:
            await call()
        counts[name] = len(statements)
    return counts


async def test_reads_do_not_grow_with_their_rows(live: Store) -> None:
    me = await register(live, "reader")

    async def grow(number: int) -> Contact:
        contacts = [await befriend(live, me, await register(live)) for _ in range(number)]
        for contact in contacts:
            await say(live, contact)
        await live.groups.create(me, "group", "", [contact.contact_id for contact in contacts])
        for _ in range(number):
            await say(live, contacts[0])
            await live.contacts.request(await register(live), me)
        return contacts[0]

    def calls(contact: Contact) -> dict[str, Callable[[], Awaitable[object]]]:
        return {
            "history": lambda: live.messages.history(contact.room_id, None, 100, me),
            "sync": lambda: live.deliveries.sync(me, 0, None, 50),
            "between": lambda: live.deliveries.between(me, 0, 1000, 1000),
            "heads": lambda: live.deliveries.heads(range(1, 1000)),
            "search": lambda: live.users.search("user", me, 100, 0),
            "contacts": lambda: live.contacts.of_owner(me),
            "members": lambda: live.contacts.members(contact),
            "pending": lambda: live.contacts.pending_for(me),
            "users": lambda: live.users.by_ids(range(1, 1000)),
            "groups": lambda: live.groups.by_ids(range(1, 1000), me),
            "changed": lambda: live.contacts.changed_since([me], contact.created_at),
            "requested": lambda: live.contacts.requests_changed_since([me], contact.created_at),
        }

    few = await _counts(live, calls(await grow(2)))
    many = await _counts(live, calls(await grow(12)))
    assert many == few
    assert {name: count for name, count in many.items() if count != 1} == {"search": 2}


async def test_a_send_to_a_hundred_takes_as_many_statements_as_one_to_two(live: Store) -> None:
    two, hundred = (await group(live, 2))[0], (await group(live, 100))[0]
    counts = await _counts(live, {"two": lambda: say(live, two), "hundred": lambda: say(live, hundred)})
    assert counts["hundred"] == counts["two"]
    assert counts["hundred"] <= 7


async def test_making_a_group_of_a_hundred_takes_as_many_statements_as_one_of_two(live: Store) -> None:
    owner = await register(live)
    ids = [(await befriend(live, owner, await register(live))).contact_id for _ in range(99)]
    counts = await _counts(
        live,
        {
            "two": lambda: live.groups.create(owner, "g", "", ids[:1]),
            "hundred": lambda: live.groups.create(owner, "g", "", ids),
        },
    )
    assert counts["hundred"] == counts["two"]
