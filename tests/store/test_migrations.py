"""Making a database anew, and what the migrations lead to."""

import asyncio
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from server.config.settings import Settings
from server.model.enums import MessageType
from server.store import SchemaOutdated, SendRequest, SendResult, open_store
from server.store.migrations import SCRIPTS, migrate, migrate_blocking
from server.store.revision import REVISION
from server.store.tables import metadata
from tests.store.conftest import TestClock, opened
from tests.store.databases import connected, dump, run_script, schema
from tests.support.mariadb import MariaDb


async def test_a_fresh_database_is_made_once(empty: Settings) -> None:
    first = await migrate(empty)
    before = dump(empty)
    second = await migrate(empty)
    assert (first.before, first.after, first.changed) == (None, REVISION, True)
    assert (second.before, second.after, second.changed) == (REVISION, REVISION, False)
    assert dump(empty) == before


async def test_the_migrations_lead_to_the_tables_that_the_code_knows(empty: Settings) -> None:
    await migrate(empty)
    with connected(empty) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_the_code_expects_the_newest_migration() -> None:
    assert ScriptDirectory(str(SCRIPTS)).get_current_head() == REVISION


async def test_both_databases_get_the_same_schema(mariadb: MariaDb, tmp_path: Path) -> None:
    sqlite = Settings(data_dir=tmp_path)
    mysql = Settings(mysql=mariadb.create_database())
    await migrate(sqlite)
    await migrate(mysql)
    assert schema(sqlite, types=False) == schema(mysql, types=False)


def _migrate_to(settings: Settings, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    with connected(settings) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.commit()


_OF_0002 = """
INSERT INTO users VALUES (1, 'ann', 'ann', 0, 'h', 'Ann', '', 1, '{now}', '{now}'),
    (2, 'ben', 'ben', 0, 'h', 'Ben', '', 1, '{now}', '{now}');
INSERT INTO delivery_counters VALUES (1, 2), (2, 2);
INSERT INTO chat_rooms VALUES (1, 'u-1-2', '{now}', '{now}'), (2, 'g-1', '{now}', '{now}');
INSERT INTO chat_groups VALUES (1, 1, 2, 'group', '', '{now}', '{now}');
INSERT INTO contacts VALUES (1, 1, 2, NULL, 1, 1, '{now}', '{now}'), (2, 2, 1, NULL, 1, 1, '{now}', '{now}'),
    (3, 1, NULL, 1, 2, 1, '{now}', '{now}'), (4, 2, NULL, 1, 2, 1, '{now}', '{now}');
INSERT INTO chat_messages VALUES (1, 1, 1, 1, 'one', '', '', 0, 0, 'local', '{now}', '{now}'),
    (2, 1, 2, 1, 'two', '', '', 0, 0, NULL, '{now}', '{now}');
INSERT INTO message_deliveries VALUES (1, 1, 1, 1, '{now}'), (2, 1, 1, 1, '{now}'),
    (1, 2, 2, 1, '{now}'), (2, 2, 2, 1, '{now}');
""".format(now="2026-01-02 03:04:05.678000")


async def test_a_local_id_named_a_send_once_and_names_it_within_its_room_now(empty: Settings, clock: TestClock) -> None:
    await asyncio.to_thread(_migrate_to, empty, "0002")
    with connected(empty) as connection:
        for statement in filter(str.strip, _OF_0002.split(";")):
            connection.execute(text(statement))
        connection.commit()
    before = dump(empty)
    report = await migrate(empty)
    assert (report.before, report.after) == ("0002", REVISION)
    assert dump(empty) == before | {"alembic_version": [{"version_num": REVISION}]}
    async with opened(empty, clock) as store:

        async def send(contact_id: int) -> SendResult:
            return await store.messages.send(SendRequest(1, contact_id, "local", MessageType.TEXT, "x", "", ""))

        again, elsewhere = await send(1), await send(3)
        assert (again.message.text, again.created) == ("one", False)
        assert elsewhere.created
        assert not (await send(3)).created


async def test_migrations_started_at_once_do_not_collide(empty: Settings) -> None:
    reports = await asyncio.gather(*(asyncio.to_thread(migrate_blocking, empty) for _ in range(3)))
    assert sorted(report.changed for report in reports) == [False, False, True]
    assert dump(empty)["alembic_version"] == [{"version_num": REVISION}]


async def test_a_mysql_database_without_our_tables_is_refused(mariadb: MariaDb, clock: TestClock) -> None:
    with pytest.raises(SchemaOutdated, match="migrate"):
        await open_store(Settings(mysql=mariadb.create_database()), clock)


async def test_a_newer_database_is_refused(mariadb: MariaDb, clock: TestClock) -> None:
    mysql = mariadb.create_database()
    settings = Settings(mysql=mysql)
    await migrate(settings)
    await asyncio.to_thread(run_script, mysql, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaOutdated, match="9999"):
        await migrate(settings)
    with pytest.raises(SchemaOutdated, match="9999"):
        await open_store(settings, clock)


async def test_the_embedded_database_is_made_when_it_is_opened(tmp_path: Path, clock: TestClock) -> None:
    store = await open_store(Settings(data_dir=tmp_path / "new"), clock)
    assert await store.users.create("ann", "hash", "Ann", "") == 1
    await store.close()
