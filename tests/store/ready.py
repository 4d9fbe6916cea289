"""Databases with all tables, made once in a test run and copied for each test: that takes a tenth of the time."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from sqlalchemy import inspect, text

from server.config.settings import Mysql, Settings
from server.store import sqlite
from server.store.migrations import migrate_blocking
from tests.store.databases import connected, run_script
from tests.support.mariadb import MariaDb


def sqlite_settings(data_dir: Path) -> Settings:
    """Of a new database in `data_dir`."""
    shutil.copyfile(_sqlite_template(), sqlite.path(data_dir))
    return Settings(data_dir=data_dir)


def mysql_database(server: MariaDb) -> Mysql:
    """A new database."""
    if not _script:
        _script.append(_make_script(server))
    database = server.create_database()
    run_script(database, _script[0])
    return database


@cache
def _sqlite_template() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="ichat-sqlite-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    migrate_blocking(Settings(data_dir=directory))
    return sqlite.path(directory)


_script: list[str] = []


def _make_script(server: MariaDb) -> str:
    """Works on every server, whichever it was made on."""
    made = Settings(mysql=server.create_database())
    migrate_blocking(made)
    with connected(made) as connection:
        tables = inspect(connection).get_table_names()
        statements = [connection.execute(text(f"SHOW CREATE TABLE {table}")).one()[1] for table in tables]
        (version,) = connection.execute(text("SELECT version_num FROM alembic_version")).one()
    statements.append(f"INSERT INTO alembic_version VALUES ('{version}')")  # noqa: S608  our own revision
    return ";\n".join(["SET foreign_key_checks = 0", *statements])
