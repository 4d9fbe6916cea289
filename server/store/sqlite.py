"""SQLite: one thread writes, aiosqlite reads beside it (WAL lets them).

A thread of our own with a plain connection, because a transaction through SQLAlchemy on aiosqlite crosses between
two threads at every statement: ten times the CPU, some 400 sends a second instead of several thousand.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Concatenate

from sqlalchemy import Connection, Engine, StaticPool, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from server.store.database import Database, Operation, P, T
from server.store.errors import StoreUnavailable

_TROUBLE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
}
_READERS = 4


def path(data_dir: Path) -> Path:
    return data_dir / "ichat.db"


def writing_engine(file: Path, busy_timeout: float, *, foreign_keys: bool = True) -> Engine:
    """An engine of one connection whose transactions take the write lock at their beginning.

    Without `foreign_keys` they aren't enforced, so that a migration can put a new table in the place of an old one
    (https://sqlite.org/lang_altertable.html#otheralter); `check_foreign_keys` then tells before the commit.
    """
    engine = create_engine(
        f"sqlite:///{file}",
        poolclass=StaticPool,
        hide_parameters=True,  # an error goes into the log, what people write doesn't
        connect_args={"check_same_thread": False, "isolation_level": None},
    )
    event.listen(engine, "connect", _pragmas(busy_timeout, foreign_keys=foreign_keys))
    event.listen(engine, "begin", _begin)
    return engine


def _pragmas(busy_timeout: float, *, foreign_keys: bool = True) -> Callable[[Any, Any], None]:
    def set_pragmas(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout={int(busy_timeout * 1000)}",
            "journal_mode=WAL",
            "synchronous=FULL",  # WAL with NORMAL may lose what was committed when the power goes
            f"foreign_keys={int(foreign_keys)}",
            "cache_size=-16000",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return set_pragmas


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def check_foreign_keys(connection: Connection) -> None:
    """Raises RuntimeError if a row refers to one that isn't there."""
    if broken := connection.exec_driver_sql("PRAGMA foreign_key_check").all():
        raise RuntimeError(f"{len(broken)} rows refer to others that aren't there: {broken[:3]}")


def is_trouble(error: DBAPIError) -> bool:
    code = getattr(error.orig, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _TROUBLE


def is_missing_table(error: DBAPIError) -> bool:
    return isinstance(error.orig, sqlite3.OperationalError) and str(error.orig).startswith("no such table")


class SqliteDatabase(Database):
    def __init__(self, file: Path, limit: float) -> None:
        # A writer that finds the file locked gives up a little before its caller does, so the caller gets an
        # answer, not a doubt.
        reads = create_async_engine(
            f"sqlite+aiosqlite:///{file}",
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
            pool_size=_READERS,
            max_overflow=0,
            pool_timeout=limit,
            pool_reset_on_return=None,
        )
        event.listen(reads.sync_engine, "connect", _pragmas(limit * 0.8))
        super().__init__(reads, limit)
        self._engine = writing_engine(file, limit * 0.8)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-writer")
        self._connection: Connection | None = None

    async def write(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        deadline = time.monotonic() + self._limit

        def transaction() -> T:
            if time.monotonic() >= deadline:
                raise StoreUnavailable("the writer is behind")
            if self._connection is None:
                self._connection = self._engine.connect()
            with self._connection.begin():
                return work(self._connection, *args, **kwargs)

        async with self.guard(Operation.WRITE):
            return await asyncio.get_running_loop().run_in_executor(self._thread, transaction)

    def is_trouble(self, error: DBAPIError) -> bool:
        return is_trouble(error)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()
        await self._reads.dispose()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._engine.dispose()
