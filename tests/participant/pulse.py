"""How late the event loop was: what nobody could have received in the meantime is no fault of those who sent it."""

import asyncio
from types import TracebackType
from typing import Self

_BEAT = 0.02


class Pulse:
    """Use as an async context manager. Times are seconds of the event loop's clock."""

    def __init__(self) -> None:
        self._late: list[tuple[float, float]] = []
        self._task: asyncio.Task[None] | None = None

    def late(self, since: float, until: float) -> float:
        """Seconds between these times in which the loop was held up."""
        return sum(max(0.0, min(until, came) - max(since, due)) for due, came in self._late)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._beat())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _BEAT
            await asyncio.sleep(_BEAT)
            self._late.append((due, loop.time()))
