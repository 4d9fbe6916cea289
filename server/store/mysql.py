"""MySQL and MariaDB: one engine for reads, one for transactions.

Two engines, because a connection that changes between autocommit and transactions pays two round trips for it at
every checkout. Transactions run at READ COMMITTED: what they read after they waited for a lock is what the lock's
last holder committed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Concatenate

from sqlalchemy import URL, Connection, event
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from server.config.settings import Mysql
from server.store.database import Database, Operation, P, T
from server.store.errors import StoreUnavailable

_DEADLOCK = {1205, 1213}
"""Lock wait timeout, deadlock: InnoDB has rolled back, or we do, and the transaction may be run again."""
_TROUBLE = _DEADLOCK | {
    1021,  # disk full
    1040,  # too many connections
    1053,  # server shutdown in progress
    1114,  # table full
    1203,  # too many connections of this user
    1290,  # read only
    1317,  # interrupted
    1836,  # read only
    1927,  # connection killed
    2002,  # can't connect
    2003,
    2006,  # gone away
    2013,  # lost
    2055,
    4031,  # disconnected for inactivity
}
_ATTEMPTS = 5
_LONGEST_LIST = 1_000_000
"""Bytes of what GROUP_CONCAT gives, which would be cut: 50,000 ids."""
_RECYCLE = 1800
"""Seconds after which an idle connection is renewed, before a firewall forgets it."""


class CommitInDoubt(StoreUnavailable):
    """The connection was lost in the commit: it may have happened."""


class MysqlDatabase(Database):
    def __init__(self, settings: Mysql) -> None:
        super().__init__(_engine(settings, "AUTOCOMMIT", settings.pool_size), settings.timeout)
        self._writes = _engine(settings, "READ COMMITTED", max(2, settings.pool_size // 2) + 1)

    async def write(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        async def attempt() -> T:
            async with self._writes.connect() as connection:
                return await transact(connection, work, *args, **kwargs)

        async with self.guard(Operation.WRITE):
            return await retried(attempt)

    async def connect(self) -> AsyncConnection:
        """A connection for transactions, for the caller to keep and to close."""
        return await self._writes.connect()

    def is_trouble(self, error: DBAPIError) -> bool:
        return is_trouble(error)

    async def close(self) -> None:
        await self._reads.dispose()
        await self._writes.dispose()


async def transact(
    connection: AsyncConnection, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run `work` and commit; what it raises leaves the transaction for the caller to roll back.

    Raises:
        CommitInDoubt
    """
    await connection.begin()  # nothing is sent for it
    result = await connection.run_sync(work, *args, **kwargs)
    try:
        await connection.commit()
    except DBAPIError as error:
        if error.connection_invalidated:
            raise CommitInDoubt(str(error.orig)) from error
        raise
    return result


async def retried(attempt: Callable[[], Awaitable[T]]) -> T:
    """Run a transaction that surely wasn't committed again: after a deadlock a few times, after a lost connection once
    (the pool then renews every connection as old as that one)."""
    lost = False
    for number in range(1, _ATTEMPTS):
        try:
            return await attempt()
        except DBAPIError as error:
            if error.connection_invalidated and not lost:
                lost = True
            elif code(error) not in _DEADLOCK:
                raise
            await asyncio.sleep(0.002 * (number - 1))
    return await attempt()


def code(error: DBAPIError) -> int:
    """MySQL's number of the error; 0 if it has none."""
    arguments = error.orig.args if error.orig is not None else ()
    return arguments[0] if arguments and isinstance(arguments[0], int) else 0


def is_trouble(error: DBAPIError) -> bool:
    return code(error) in _TROUBLE


def is_missing_table(error: DBAPIError) -> bool:
    return code(error) == 1146


def url(settings: Mysql, driver: str) -> URL:
    return URL.create(
        driver,
        username=settings.user,
        password=settings.password.get_secret_value() or None,
        host=settings.host,
        port=settings.port,
        database=settings.dbname,
        query={"charset": "utf8mb4"},
    )


def _engine(settings: Mysql, isolation_level: Any, size: int) -> AsyncEngine:
    lock_wait = max(1, int(settings.timeout * 0.8))
    engine = create_async_engine(
        url(settings, "mysql+aiomysql"),
        isolation_level=isolation_level,
        hide_parameters=True,  # an error goes into the log, what people write doesn't
        skip_autocommit_rollback=isolation_level == "AUTOCOMMIT",
        pool_size=size,
        max_overflow=0,
        pool_timeout=settings.timeout,
        pool_recycle=_RECYCLE,
        pool_use_lifo=True,
        # A transaction ends with its own commit or rollback; another rollback would be a round trip for nothing.
        pool_reset_on_return=None,
        connect_args={
            "connect_timeout": settings.timeout,
            "init_command": (
                f"SET SESSION time_zone = '+00:00', innodb_lock_wait_timeout = {lock_wait}, "
                f"group_concat_max_len = {_LONGEST_LIST}, "
                "sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'"
            ),
        },
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    return engine


def _refuse_closed(connection: Any, _record: object, _proxy: object) -> None:
    """Spare a transaction a connection that the server has closed meanwhile (a restart): the pool then takes another.
    The event loop has noticed it already, so it costs no round trip."""
    if is_closed(connection.driver_connection):
        raise DisconnectionError


def is_closed(driver: Any) -> bool:
    """Whether an aiomysql connection is closed, by us or by the server as far as it is known here."""
    reader = driver._reader
    return reader is None or reader.at_eof() or reader.exception() is not None
