"""Stores to test: each test that takes `settings` or `store` runs over SQLite and over MariaDB."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from server.config.settings import Settings
from server.store import Store, open_store
from tests.store.ready import mysql_database, sqlite_settings
from tests.support.mariadb import MariaDb

BACKENDS = ("sqlite", "mariadb")


class TestClock:
    """Stands still until it is moved."""

    __test__ = False

    def __init__(self) -> None:
        self._now = datetime(2026, 3, 29, 0, 59, 59, 999_000, tzinfo=UTC)

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def empty(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Of a database without tables."""
    if backend == "sqlite":
        yield Settings(data_dir=tmp_path)
    else:
        server: MariaDb = request.getfixturevalue("mariadb")
        mysql = server.create_database()
        yield Settings(data_dir=tmp_path, mysql=mysql)
        server.drop_database(mysql.dbname)


@pytest.fixture
def settings(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Of a database with all tables."""
    if backend == "sqlite":
        yield sqlite_settings(tmp_path)
    else:
        server: MariaDb = request.getfixturevalue("mariadb")
        mysql = mysql_database(server)
        yield Settings(data_dir=tmp_path, mysql=mysql)
        server.drop_database(mysql.dbname)


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@asynccontextmanager
async def opened(settings: Settings, clock: TestClock) -> AsyncIterator[Store]:
    store = await open_store(settings, clock)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def store(settings: Settings, clock: TestClock) -> AsyncIterator[Store]:
    async with opened(settings, clock) as store:
        yield store


@pytest.fixture
async def second_store(settings: Settings, clock: TestClock, store: Store) -> AsyncIterator[Store]:
    """As another process has it, on the same database."""
    async with opened(settings, clock) as other:
        yield other
