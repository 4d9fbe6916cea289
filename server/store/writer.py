"""The send writer: sends that arrive while a transaction runs share the next one. No timer gathers them.

One task for each process; several processes may share the database.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import ClassVar

from sqlalchemy.exc import IntegrityError

from server.clock import Clock
from server.patience import Patience
from server.store.database import Database
from server.store.errors import StoreUnavailable
from server.store.sending import Outcome, SendRequest, SendResult, send_all

BATCH_CHARACTERS = 500_000
"""Of the texts and urls in one batch, so that its INSERT stays far below MySQL's max_allowed_packet (16 MiB or more): a
character takes at most 8 bytes."""

_BATCH_SENDS = 1000
"""At most, whatever is configured: SQLite takes 32,766 parameters."""


class SendBackend(ABC):
    """How a batch gets into the database."""

    share_from: ClassVar[int] = 2
    """So many sends have to wait for a transaction that they share to be worth it."""

    @abstractmethod
    async def send(self, requests: Sequence[SendRequest]) -> list[Outcome]:
        """All or, where it raises, none of them. Raises StoreUnavailable, or what is wrong with one of them."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of what is held open between two batches."""


class PlainBackend(SendBackend):
    """A transaction like any other."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def send(self, requests: Sequence[SendRequest]) -> list[Outcome]:
        try:
            return await self._database.write(send_all, requests, self._clock.now(), careful=False)
        except IntegrityError:
            return await self._database.write(send_all, requests, self._clock.now(), careful=True)

    async def close(self) -> None:
        """Nothing is held."""


class _Waiting:
    __slots__ = ("future", "request")

    def __init__(self, request: SendRequest, future: asyncio.Future[SendResult]) -> None:
        self.request = request
        self.future = future


class SendWriter:
    """`start` before use; `close` finishes what was taken in."""

    def __init__(self, backend: SendBackend, limit: float, batch: int) -> None:
        self._backend = backend
        self._patience = Patience(limit, lambda: StoreUnavailable(f"not committed within {limit} s"))
        self._batch = min(batch, _BATCH_SENDS)
        self._queue: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="send-writer")

    async def close(self) -> None:
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task
        await self._backend.close()

    async def send(self, request: SendRequest) -> SendResult:
        """Returns when the message is committed.

        Raises:
            ApiError: CONTACT_NOT_FOUND, FORBIDDEN
            StoreUnavailable: and the message may have been committed all the same, if the answer was lost or late.
        """
        if self._closing:
            raise StoreUnavailable("closing")
        future: asyncio.Future[SendResult] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(request, future))
        self._wake.set()
        self._patience.watch(future)
        return await future

    async def _run(self) -> None:
        while True:
            if not self._queue:
                if self._closing:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            if batch := self._take():
                await self._commit(batch)

    def _take(self) -> list[_Waiting]:
        """The next batch; who has given up waiting isn't in it."""
        batch: list[_Waiting] = []
        characters = 0
        size = self._batch if len(self._queue) >= self._backend.share_from else 1
        while self._queue and len(batch) < size:
            waiting = self._queue[0]
            if waiting.future.done():
                self._queue.popleft()
                continue
            request = waiting.request
            characters += len(request.text) + len(request.image) + len(request.thumbnail)
            if batch and characters > BATCH_CHARACTERS:
                break
            batch.append(self._queue.popleft())
        return batch

    async def _commit(self, batch: list[_Waiting]) -> None:
        """Never raises: what goes wrong is told to those who wait."""
        try:
            outcomes: Sequence[Outcome] = await self._backend.send([waiting.request for waiting in batch])
        except StoreUnavailable as error:
            _fail(batch, error)
        except Exception as error:
            if len(batch) == 1:
                _fail(batch, error)
            else:
                for waiting in batch:
                    await self._commit([waiting])
        else:
            for waiting, outcome in zip(batch, outcomes, strict=True):
                if waiting.future.done():
                    continue
                if isinstance(outcome, SendResult):
                    waiting.future.set_result(outcome)
                else:
                    waiting.future.set_exception(outcome)


def _fail(batch: Sequence[_Waiting], error: Exception) -> None:
    for waiting in batch:
        if not waiting.future.done():
            # an exception of its own for each who waits: raising one adds to its traceback
            own = StoreUnavailable(*error.args) if isinstance(error, StoreUnavailable) else error
            waiting.future.set_exception(own)
