"""Making a database anew, and what the migrations lead to."""

import asyncio
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from server.config.settings import Settings
from server.store import SchemaOutdated, open_store
from server.store.migrations import SCRIPTS, migrate, migrate_blocking
from server.store.revision import REVISION
from server.store.tables import metadata
from tests.store.conftest import TestClock
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
