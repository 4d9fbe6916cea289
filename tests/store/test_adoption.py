"""A database of schema v0 with rows, adopted in place."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, event

from server.clock import SystemClock
from server.config.settings import Settings
from server.model.enums import CallStatus, EndReason, MessageType
from server.store import open_store
from server.store.migrations import migrate_blocking
from tests.store import v0
from tests.store.databases import dump, run_script, schema
from tests.store.people import everything, ids, text
from tests.support.mariadb import MariaDb

WINTER = datetime(2025, 12, 1, 8, tzinfo=UTC)


@pytest.fixture
def old(mariadb: MariaDb) -> Iterator[Settings]:
    """A database of schema v0."""
    settings = _old(mariadb)
    yield settings
    assert settings.mysql is not None
    mariadb.drop_database(settings.mysql.dbname)


def _old(mariadb: MariaDb) -> Settings:
    mysql = mariadb.create_database()
    run_script(mysql, v0.SCHEMA + v0.ROWS)
    return Settings(mysql=mysql)


def test_nothing_is_lost_but_twins(old: Settings) -> None:
    before = dump(old)
    report = migrate_blocking(old)
    after = dump(old)
    assert "contacts: 5 twins merged" in report.done
    counts = {table: len(rows) for table, rows in before.items()}
    # 5 twins; the room of a group that had none; a call that no message ever told of
    expected = counts | {"contacts": counts["contacts"] - 5, "chat_rooms": counts["chat_rooms"] + 1, "calls": 3}
    assert {table: len(after[table]) for table in before} == expected
    for table, key, columns in (
        ("users", "user_id", {"username": "username", "password": "password_hash"}),
        ("chat_messages", "message_id", {"text": "text", "sender_id": "sender_id"}),
        ("message_deliveries", "id", {"message_id": "message_id", "receiver_id": "receiver_id"}),
        ("chat_groups", "group_id", {"name": "name", "owner_id": "owner_id"}),
    ):
        there = {row["delivery_id" if key == "id" else key]: row for row in after[table]}
        for row in before[table]:
            for was, now in columns.items():
                assert there[row[key]][now] == row[was]


def test_the_schema_is_that_of_a_fresh_database(old: Settings, mariadb: MariaDb) -> None:
    migrate_blocking(old)
    fresh = Settings(mysql=mariadb.create_database())
    migrate_blocking(fresh)
    assert schema(old) == schema(fresh)


def test_a_second_run_changes_nothing(old: Settings) -> None:
    migrate_blocking(old)
    before = dump(old)
    with _statements() as statements:
        report = migrate_blocking(old)
    assert not report.changed
    assert [statement for statement in statements if _changes(statement)] == []
    assert dump(old) == before


async def test_the_store_serves_what_was_adopted(old: Settings) -> None:
    await asyncio.to_thread(migrate_blocking, old)
    store = await open_store(old, SystemClock())

    credentials = await store.users.credentials("ann")
    assert credentials is not None
    assert credentials.password_hash == v0.HASH
    # equal names: the exact spelling wins, else the oldest
    for name, user_id in {"Bob": 2, "bob": 3, "ｂｏｂ": 4, "BOB": 2, "straße": 5, "STRASSE": 6, "用户😀": 9}.items():
        found = await store.users.credentials(name)
        assert found is not None
        assert found.user_id == user_id, name

    contacts = {contact.contact_id: contact for contact in await store.contacts.of_owner(1)}
    assert set(contacts) == {1, 6}
    friend = contacts[1]
    assert friend.last_message_id == 8
    assert friend.last_message_content == "[消息已撤回]"
    history = {m.message_id: m for m in await store.messages.history(friend.room_id, None, 100, viewer=1)}
    assert list(history) == [1, 2, 3, 4, 6, 7, 8], "the twin room's messages are here now"
    assert history[1].created_at == datetime(2025, 10, 26, 0, 30, tzinfo=UTC), "02:30 the first time"
    assert history[1].updated_at == datetime(2025, 10, 26, 1, 30, tzinfo=UTC), "02:30 the second time"
    assert history[2].created_at == datetime(2025, 7, 1, 10, tzinfo=UTC), "summer time"
    assert history[3].created_at == WINTER
    assert history[2].text == v0.LONG
    assert history[4].type is MessageType.IMAGE
    open_call, ended_call = history[6].call, history[7].call
    assert open_call is not None
    assert ended_call is not None
    assert (open_call.status, open_call.end_reason) == (CallStatus.END, EndReason.ERROR)
    assert (ended_call.status, ended_call.end_reason) == (CallStatus.END, EndReason.NORMAL)
    assert ended_call.members == (2, 1)
    group_call = (await store.messages.history(contacts[6].room_id, None, 100, viewer=1))[-1].call
    assert group_call is not None
    assert group_call.members[:3] == (1, 2, 3), "out of odd members, the caller first"

    assert ids(await everything(store, 1)) == [11, 13, 14, 20, 30]
    assert [delivery.is_new for delivery in await everything(store, 1)] == [True, True, False, True, True]
    sent = await store.messages.send(text(friend))
    assert {delivery.receiver_id: delivery.delivery_id for delivery in sent.deliveries} == {1: 31, 2: 22}

    groups = await store.groups.by_ids([1, 2, 3], me=2)
    assert set(groups) == {1, 2}
    lost_room = groups[2]
    in_group = next(contact for contact in await store.contacts.of_owner(2) if contact.group_id == 2)
    assert in_group.room_id == lost_room.room_id
    assert [m.text for m in await store.messages.history(lost_room.room_id, None, 10, viewer=9)] == ["of no type"]

    one_sided = next(iter(await store.contacts.of_owner(6)))
    assert one_sided.room_id == next(iter(await store.contacts.of_owner(5))).room_id
    assert await store.settings.wallpaper(1) == "https://example.org/wall.png"
    assert [request.id for request in await store.contacts.pending_for(3)] == [3]
    await store.close()


class Killed(BaseException):
    """What a test puts in the place of a kill."""


def _changes(statement: str) -> bool:
    return statement.split(None, 1)[0].upper() not in {
        "SELECT",
        "SHOW",
        "DESCRIBE",
        "SET",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
    }


@contextmanager
def _watched(before: Callable[[str], None], after: Callable[[str, int], None]) -> Iterator[None]:
    """Calls `before(statement)` and `after(statement, rows)` for the statements of this thread."""
    thread = threading.get_ident()

    def note_before(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if threading.get_ident() == thread:
            before(statement)

    def note_after(_connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if threading.get_ident() == thread:
            after(statement, cursor.rowcount)

    event.listen(Engine, "before_cursor_execute", note_before)
    event.listen(Engine, "after_cursor_execute", note_after)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", note_before)
        event.remove(Engine, "after_cursor_execute", note_after)


@contextmanager
def _statements(kill_after: int | None = None) -> Iterator[list[str]]:
    """Collects this thread's statements; dies after so many that change something."""
    seen: list[str] = []

    def note(statement: str, _rows: int) -> None:
        seen.append(statement)
        if _changes(statement) and sum(map(_changes, seen)) == kill_after:
            raise Killed

    with _watched(lambda _: None, note):
        yield seen


@contextmanager
def _killed_once_something_is_done(done: set[str]) -> Iterator[None]:
    """Dies as soon as a change is committed: after the first change of a table that isn't among those `done` by earlier
    runs (MySQL commits each by itself), or at the first statement after a transaction that changed a row."""
    changed = committed = False

    def before(_statement: str) -> None:
        if committed:
            raise Killed

    def after(statement: str, rows: int) -> None:
        nonlocal changed
        if statement.split(None, 1)[0].upper() in {"ALTER", "CREATE"} and statement not in done:
            done.add(statement)
            raise Killed
        changed |= _changes(statement) and rows > 0

    def commit(_connection: Any) -> None:
        nonlocal committed
        committed = changed

    event.listen(Engine, "commit", commit)
    try:
        with _watched(before, after):
            yield
    finally:
        event.remove(Engine, "commit", commit)


def test_an_adoption_interrupted_after_every_step_gets_a_step_further_each_time(
    mariadb: MariaDb, old: Settings
) -> None:
    whole = _old(mariadb)
    migrate_blocking(whole)
    steps = 0
    done: set[str] = set()
    while True:
        try:
            with _killed_once_something_is_done(done):
                migrate_blocking(old)
            break
        except Killed:
            steps += 1
            assert steps < 200, "no step further"
    assert steps > 70
    assert dump(old) == dump(whole)
    assert schema(old) == schema(whole)


_EVERY = 11


def test_an_adoption_interrupted_once_is_finished_by_the_next(mariadb: MariaDb) -> None:
    whole = _old(mariadb)
    with _statements() as statements:
        migrate_blocking(whole)
    expected, expected_schema = dump(whole), schema(whole)
    number = sum(map(_changes, statements))
    for kill_after in range(1, number + 1, _EVERY):
        broken = _old(mariadb)
        with pytest.raises(Killed), _statements(kill_after):
            migrate_blocking(broken)
        migrate_blocking(broken)
        assert dump(broken) == expected, f"interrupted after {kill_after} changes"
        assert schema(broken) == expected_schema, f"interrupted after {kill_after} changes"
        assert broken.mysql is not None
        mariadb.drop_database(broken.mysql.dbname)


async def test_two_adoptions_at_once_give_the_same_as_one(old: Settings, mariadb: MariaDb) -> None:
    alone = _old(mariadb)
    migrate_blocking(alone)
    reports = await asyncio.gather(*(asyncio.to_thread(migrate_blocking, old) for _ in range(2)))
    assert sorted(report.changed for report in reports) == [False, True]
    assert dump(old) == dump(alone)
