"""How late the event loop was: what nobody could have received in the meantime is no fault of those who sent it."""

import asyncio
from types import TracebackType
from typing import Self

_BEAT = 0.02


class Pulse:
    """Use as an async context manager. `longest`: the longest time, in seconds, that the loop was held up."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._task: asyncio.Task[None] | None = None

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
            self.longest = max(self.longest, loop.time() - due)
