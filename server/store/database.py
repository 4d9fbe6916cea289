"""What the queries and transactions need of a database, whichever it is."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any, Concatenate, ParamSpec, TypeVar

from prometheus_client import Histogram
from sqlalchemy import Connection, Table, insert, literal, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine

from server.store.errors import StoreUnavailable
from server.store.types import AnyRow, AnySelect

P = ParamSpec("P")
T = TypeVar("T")


class Operation(Enum):
    READ = "read"
    WRITE = "write"


_PING = select(literal(1))


def inserted_id(connection: Connection, into: Table, row: Mapping[str, Any]) -> int:
    """Insert one row; gives the id that it got."""
    inserted: int = connection.execute(insert(into), row).lastrowid
    return inserted


class Database(ABC):
    """Reads are single statements, each seeing what is committed; a write is a function that is one transaction.

    Every call ends within `limit` seconds. `reads` is an engine in autocommit mode.
    """

    def __init__(self, reads: AsyncEngine, limit: float) -> None:
        self._reads = reads
        self._limit = limit
        self._timers: dict[Operation, Histogram] = {}

    def report_to(self, seconds: Histogram) -> None:
        """Time every operation from now on; `seconds` has the label `operation`."""
        self._timers = {operation: seconds.labels(operation.value) for operation in Operation}

    @property
    def limit(self) -> float:
        return self._limit

    async def fetch(self, statement: AnySelect, parameters: Mapping[str, Any] | None = None) -> Sequence[AnyRow]:
        """The rows of one statement; asked again once if the connection turned out to be lost.

        Raises:
            StoreUnavailable
        """
        async with self.guard(Operation.READ):
            try:
                return await self._fetch(statement, parameters)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
            return await self._fetch(statement, parameters)

    async def _fetch(self, statement: AnySelect, parameters: Mapping[str, Any] | None) -> Sequence[AnyRow]:
        async with self._reads.connect() as connection:
            return (await connection.execute(statement, parameters)).all()

    @abstractmethod
    async def write(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(connection, …)` as a transaction and commit it; what it raises rolls it back.

        `work` may run several times (deadlock, lost connection), so it must change nothing but the database.
        It never runs again once its commit may have happened.

        Raises:
            StoreUnavailable: and if the connection was lost in the commit, it may have happened.
        """

    async def ping(self) -> float:
        """Seconds for a round trip. Raises StoreUnavailable."""
        start = time.perf_counter()
        await self.fetch(_PING)
        return time.perf_counter() - start

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    def is_trouble(self, error: DBAPIError) -> bool:
        """Whether the error is the database's state, not the statement's fault."""

    @asynccontextmanager
    async def guard(self, operation: Operation) -> AsyncIterator[None]:
        """Holds what is inside to the time limit, times it, and tells the database's trouble as StoreUnavailable."""
        start = time.perf_counter()
        try:
            async with asyncio.timeout(self._limit):
                yield
        except (TimeoutError, PoolTimeout) as error:
            raise StoreUnavailable(f"no answer within {self._limit} s") from error
        except DBAPIError as error:
            if error.connection_invalidated or self.is_trouble(error):
                raise StoreUnavailable(str(error.orig)) from error
            raise
        finally:
            if self._timers:
                self._timers[operation].observe(time.perf_counter() - start)
