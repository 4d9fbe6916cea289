"""What waits while one batch is under way goes with the next: order is kept, trips are shared, no timer gathers."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from server.bus.interface import BusUnavailable
from server.patience import Patience

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Lane(Generic[Item, Answer]):
    """`carry` takes a batch and gives an answer for each item; `limit` is the most weight of a batch, and an item's
    weight is given with it. `patience`: seconds that an item waits, its own journey included."""

    def __init__(
        self, carry: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]], *, limit: int, patience: float
    ) -> None:
        self._carry = carry
        self._limit = limit
        self._patience = Patience(patience, lambda: BusUnavailable(f"no answer within {patience:g} s"))
        self._queue: deque[tuple[Item, int, asyncio.Future[Answer]]] = deque()
        self._wake = asyncio.Event()

    async def put(self, item: Item, weight: int = 1) -> Answer:
        """Raises BusUnavailable, or what `carry` raises."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._queue.append((item, weight, answer))
        self._wake.set()
        self._patience.watch(answer)
        return await answer

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
            if batch := self._take():
                await self._journey(batch)

    def _take(self) -> list[tuple[Item, asyncio.Future[Answer]]]:
        """The next batch, without those who have given up."""
        batch: list[tuple[Item, asyncio.Future[Answer]]] = []
        total = 0
        while self._queue and (not batch or total + self._queue[0][1] <= self._limit):
            item, weight, answer = self._queue.popleft()
            if not answer.done():
                batch.append((item, answer))
                total += weight
        return batch

    async def _journey(self, batch: Sequence[tuple[Item, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._carry([item for item, _ in batch])
        except BusUnavailable as error:
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(BusUnavailable(*error.args))  # raising one adds to its traceback
            return
        except Exception as error:
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, waiting), found in zip(batch, answers, strict=True):
            if not waiting.done():
                waiting.set_result(found)
