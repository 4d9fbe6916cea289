"""Many deadlines on one timer of the event loop."""

import asyncio
import heapq
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Deadlines(Generic[Key]):
    """Calls `handler(key)` once the key's deadline, a time of the event loop, has passed. A key has one deadline.

    Moving a deadline is cheap, above all to a later time: the timer only looks again then.
    """

    def __init__(self, handler: Callable[[Key], None]) -> None:
        self._handler = handler
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._queued: dict[Key, float] = {}
        self._count = 0
        self._timer: asyncio.Handle | None = None
        self._timer_at = 0.0  # uvloop's handle of a timer that is due at once doesn't tell

    def __len__(self) -> int:
        return len(self._due)

    def set(self, key: Key, due: float) -> None:
        """Set or move the deadline."""
        self._due[key] = due
        if due < self._queued.get(key, float("inf")):
            self._queue(key, due)
            self._arm()

    def drop(self, key: Key) -> None:
        self._due.pop(key, None)

    def close(self) -> None:
        self._due.clear()
        self._queued.clear()
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _queue(self, key: Key, due: float) -> None:
        self._count += 1  # so that keys are never compared
        self._queued[key] = due
        heapq.heappush(self._heap, (due, self._count, key))

    def _arm(self) -> None:
        if not self._heap:
            return
        when = self._heap[0][0]
        if self._timer is not None:
            if self._timer_at <= when:
                return
            self._timer.cancel()
        self._timer_at = when
        self._timer = asyncio.get_running_loop().call_at(when, self._fire)

    def _fire(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        passed: list[Key] = []
        while self._heap and self._heap[0][0] <= now:
            when, _, key = heapq.heappop(self._heap)
            if self._queued.get(key) != when:
                continue
            del self._queued[key]
            due = self._due.get(key)
            if due is None:
                continue
            if due > now:
                self._queue(key, due)
            else:
                del self._due[key]
                passed.append(key)
        self._arm()
        for key in passed:
            self._handler(key)
