"""Bringing a database up to the tables of this version, with the Alembic scripts in `sql/`."""

import asyncio
import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from server.config.settings import Mysql, Settings
from server.store import mysql, sqlite
from server.store.errors import SchemaOutdated, StoreUnavailable

SCRIPTS = Path(__file__).resolve().parents[2] / "sql"
_LOCK_WAIT = 600
"""Seconds that a migration waits for another one."""


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What `migrate` found and did. Revisions are None where there was none."""

    database: str
    before: str | None
    after: str | None
    done: tuple[str, ...]

    @property
    def changed(self) -> bool:
        return self.before != self.after


async def migrate(settings: Settings) -> MigrationReport:
    """Bring the database that `settings` name up to date: made anew, adopted from schema v0, or migrated.

    Does nothing on one that is up to date. May be run again after it was interrupted; of two at once, one waits.

    Raises:
        StoreUnavailable
        SchemaOutdated: the database is of a newer version than this program
    """
    return await asyncio.to_thread(migrate_blocking, settings)


def migrate_blocking(settings: Settings) -> MigrationReport:
    """See `migrate`."""
    try:
        if settings.mysql is None:
            return _migrate_sqlite(settings)
        return _migrate_mysql(settings.mysql)
    except DBAPIError as error:
        if error.connection_invalidated or sqlite.is_trouble(error) or mysql.is_trouble(error):
            raise StoreUnavailable(str(error.orig)) from error
        raise


def _migrate_sqlite(settings: Settings) -> MigrationReport:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    file = sqlite.path(settings.data_dir)
    with _file_lock(file.with_suffix(".lock")):
        engine = sqlite.writing_engine(file, settings.sqlite.timeout, foreign_keys=False)
        try:
            with engine.begin() as connection:  # all or nothing: SQLite's DDL is transactional
                report = _upgrade(connection, str(file))
                if report.changed:
                    sqlite.check_foreign_keys(connection)
                return report
        finally:
            engine.dispose()


@contextmanager
def _file_lock(file: Path) -> Iterator[None]:
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _migrate_mysql(settings: Mysql) -> MigrationReport:
    engine = create_engine(
        mysql.url(settings, "mysql+pymysql"),
        poolclass=NullPool,
        connect_args={"connect_timeout": max(1, round(settings.timeout)), "init_command": "SET time_zone = '+00:00'"},
    )
    name = "ichat-migrate:" + hashlib.sha256(settings.dbname.encode()).hexdigest()[:32]
    try:
        with engine.connect() as connection:
            if (
                connection.execute(text("SELECT GET_LOCK(:name, :wait)"), {"name": name, "wait": _LOCK_WAIT}).scalar()
                != 1
            ):
                raise StoreUnavailable("another migration is running")
            report = _upgrade(connection, f"{settings.host}:{settings.port}/{settings.dbname}")
            connection.commit()
            connection.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": name})
            return report
    finally:
        engine.dispose()


def _upgrade(connection: Connection, database: str) -> MigrationReport:
    scripts = ScriptDirectory(str(SCRIPTS))
    before = MigrationContext.configure(connection).get_current_revision()
    if before is not None and before not in {script.revision for script in scripts.walk_revisions()}:
        raise SchemaOutdated(f"{database} is at revision {before}, which this version doesn't know")
    done: list[str] = []
    if before != scripts.get_current_head():
        config = Config()
        config.set_main_option("script_location", str(SCRIPTS))
        config.attributes["connection"] = connection
        config.attributes["done"] = done
        command.upgrade(config, "head")
    after = MigrationContext.configure(connection).get_current_revision()
    return MigrationReport(database, before, after, tuple(done))
