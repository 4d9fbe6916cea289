"""A time limit for many futures that costs one timer for all of them, where `asyncio.timeout` costs one for each."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any


class Patience:
    """Futures that aren't done `limit` seconds after `watch` get an exception made by `failure`."""

    def __init__(self, limit: float, failure: Callable[[], Exception]) -> None:
        self._limit = limit
        self._failure = failure
        self._watched: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, future: asyncio.Future[Any]) -> None:
        loop = asyncio.get_running_loop()
        self._forget_done()
        self._watched.append((loop.time() + self._limit, future))
        if self._timer is None:
            self._timer = loop.call_at(self._watched[0][0], self._look)

    def _forget_done(self) -> None:
        """They are done about in the order in which they came, so that few stay longer than they must."""
        while self._watched and self._watched[0][1].done():
            self._watched.popleft()

    def _look(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._watched and (self._watched[0][0] <= now or self._watched[0][1].done()):
            _, future = self._watched.popleft()
            if not future.done():
                future.set_exception(self._failure())
        if self._watched:
            self._timer = loop.call_at(self._watched[0][0], self._look)
