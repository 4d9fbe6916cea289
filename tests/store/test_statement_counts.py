"""What is asked often takes a number of statements that doesn't grow with the rows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pymysql
import pytest
from sqlalchemy import Engine, event

from server.clock import SystemClock
from server.config.settings import Settings
from server.model.entities import Contact
from server.store import Store, open_store
from tests.store.databases import session
from tests.store.people import befriend, group, picture, register, say
from tests.support.mariadb import MariaDb

Calls = dict[str, Callable[[], Awaitable[object]]]
Count = Callable[[Calls], Awaitable[dict[str, int]]]
Asked = Callable[[Callable[[], Awaitable[object]]], Awaitable[int]]


@pytest.fixture(scope="module")
def mariadb() -> Iterator[MariaDb]:
    """A server that nobody else asks anything."""
    with MariaDb() as server:
        yield server


@pytest.fixture
async def live(settings: Settings) -> AsyncIterator[Store]:
    store = await open_store(settings, SystemClock())
    yield store
    await store.close()


@pytest.fixture
def count(settings: Settings) -> Iterator[Count]:
    """How many statements each call takes: MariaDB is asked for what it got, whoever wrote it."""
    with ExitStack() as stack:
        asked: Asked = _by_the_engines
        if settings.mysql is not None:
            asked = _by_the_server(stack.enter_context(session(settings.mysql)))

        async def count(calls: Calls) -> dict[str, int]:
            return {name: await asked(call) for name, call in calls.items()}

        yield count


def _by_the_server(connection: "pymysql.Connection[Any]") -> Asked:
    def questions() -> int:
        """Statements that the server got from clients so far, this one included."""
        with connection.cursor() as cursor:
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Questions'")
            return int(cursor.fetchall()[0][1])

    async def asked(call: Callable[[], Awaitable[object]]) -> int:
        before = questions()
        await call()
        return questions() - before - 1

    return asked


async def _by_the_engines(call: Callable[[], Awaitable[object]]) -> int:
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        await call()
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    return len(seen)


async def test_reads_do_not_grow_with_their_rows(live: Store, count: Count) -> None:
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

    def calls(contact: Contact) -> Calls:
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

    few = await count(calls(await grow(2)))
    many = await count(calls(await grow(9)))
    assert many == few
    assert {name: number for name, number in many.items() if number != 1} == {"search": 2}


async def test_a_send_to_a_hundred_takes_as_many_statements_as_one_to_two(live: Store, count: Count) -> None:
    two, hundred = (await group(live, 2))[0], (await group(live, 100))[0]

    def sends(contact: Contact) -> Calls:
        return {
            "alone": lambda: say(live, contact),
            "together": lambda: asyncio.gather(*(say(live, contact) for _ in range(10))),
            "an image": lambda: live.messages.send(picture(contact, "https://example.org/a.png")),
        }

    for call in sends(two).values():  # connections are made
        await call()
    few, many = await count(sends(two)), await count(sends(hundred))
    assert many == few
    assert max(many.values()) <= 14  # the first of ten goes alone, the others together


async def test_changes_take_as_many_statements_for_a_hundred_as_for_two(live: Store, count: Count) -> None:
    clock = SystemClock()

    async def changes(contact: Contact) -> Calls:
        sent = [(await live.messages.send(picture(contact, thumbnail="file/t"))).message for _ in range(2)]
        me, (first, second) = contact.owner_id, [message.message_id for message in sent]
        return {
            "revoke": lambda: live.messages.revoke(first, me, clock.now()),
            "fill in": lambda: live.messages.fill_image(second, me, "file/i", clock.now()),
        }

    two, hundred = (await group(live, 2))[0], (await group(live, 100))[0]
    for call in (await changes(two)).values():  # connections are made
        await call()
    assert await count(await changes(hundred)) == await count(await changes(two))


async def test_making_a_group_of_many_takes_as_many_statements_as_one_of_two(live: Store, count: Count) -> None:
    owner = await register(live)
    ids = [(await befriend(live, owner, await register(live))).contact_id for _ in range(30)]
    counts = await count(
        {
            "two": lambda: live.groups.create(owner, "g", "", ids[:1]),
            "many": lambda: live.groups.create(owner, "g", "", ids),
        }
    )
    assert counts["many"] == counts["two"]
