"""An event loop whose time is virtual: it passes when nothing is left to be done, and costs nothing."""

import asyncio
import contextvars
import heapq
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

_BEGIN = datetime(2030, 1, 1, tzinfo=UTC)


class Deadlock(Exception):
    """Everybody waits and no timer is set."""


class _NoSelector(selectors.BaseSelector):
    """Nothing can be waited for but time."""

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, 0, None)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return []

    def get_map(self) -> Any:
        return {}

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        raise KeyError(fileobj)


class _Handle:
    """As `asyncio.TimerHandle`, but light: a run makes thousands."""

    __slots__ = ("args", "callback", "context", "due", "over")

    def __init__(
        self, callback: Callable[..., object], args: tuple[object, ...], context: contextvars.Context | None, due: float
    ) -> None:
        self.callback = callback
        self.args = args
        self.context = context or contextvars.copy_context()
        self.due = due
        self.over = False

    def cancel(self) -> None:
        self.over = True

    def cancelled(self) -> bool:
        return self.over

    def when(self) -> float:
        return self.due


class VirtualLoop(asyncio.SelectorEventLoop):
    """Has no files, no sockets, no threads. What is due at the same time is done in the order of its planning."""

    def __init__(self) -> None:
        self._now = 0.0
        self._planned = 0
        self._soon: deque[_Handle] = deque()
        self._later: list[tuple[float, int, _Handle]] = []
        super().__init__(_NoSelector())

    def time(self) -> float:
        return self._now

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> Any:
        handle = _Handle(callback, args, context, self._now)
        self._soon.append(handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> Any:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> Any:
        handle = _Handle(callback, args, context, when)
        self._planned += 1
        heapq.heappush(self._later, (when, self._planned, handle))
        return handle

    def _run_once(self) -> None:
        soon = self._soon
        if not soon:
            self._pass_time()
        for _ in range(len(soon)):
            handle = soon.popleft()
            if handle.over:
                continue
            try:
                handle.context.run(handle.callback, *handle.args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:
                self.call_exception_handler({"message": f"{handle.callback} failed", "exception": error})

    def _pass_time(self) -> None:
        later = self._later
        while later:
            when, _, handle = heapq.heappop(later)
            if handle.over:
                continue
            self._now = max(self._now, when)
            self._soon.append(handle)
            while later and later[0][0] <= self._now:
                self._soon.append(heapq.heappop(later)[2])
            return
        raise Deadlock


class VirtualClock:
    """The time of day in a virtual loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        return _BEGIN + timedelta(milliseconds=int(self._loop.time() * 1000 + 1e-6))


def run_virtually(loop: VirtualLoop, main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end and close the loop."""
    try:
        return loop.run_until_complete(main)
    finally:
        while tasks := asyncio.all_tasks(loop):  # some wait once more on their way out
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.wait(tasks, timeout=0.001))
        loop.close()
