"""What the managers of a process share."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from server.bus.interface import Bus, BusUnavailable
from server.calls.deadlines import Deadlines
from server.calls.metrics import CallMetrics
from server.calls.ports import CallNotifier, CallStore
from server.calls.state import Rules
from server.clock import Clock, epoch_millis
from server.store.errors import StoreUnavailable

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class Office:
    """`deadlines` brings a manager a `Tick`; `suspect(call_id)` is told of a call some of whose sockets may be gone."""

    bus: Bus
    store: CallStore
    notifier: CallNotifier
    clock: Clock
    rules: Rules
    deadlines: Deadlines[int]
    suspect: Callable[[int], None]
    metrics: CallMetrics

    def now(self) -> int:
        """Milliseconds since 1970."""
        return epoch_millis(self.clock.now())

    def tick_at(self, call_id: int, due: int) -> None:
        """Let the call's manager have a `Tick` at `due`, in milliseconds since 1970."""
        delay = max(0, due - self.now()) / 1000
        self.deadlines.set(call_id, asyncio.get_running_loop().time() + delay)

    async def patiently(self, work: Callable[[], Awaitable[_T]], call_id: int, what: str) -> _T:
        """The outcome of `work`, done again until the bus or the database answers. It must be safe to repeat."""
        pause = _FIRST_PAUSE
        while True:
            try:
                return await work()
            except (BusUnavailable, StoreUnavailable) as error:
                _log.warning("call %d: %s must wait: %s", call_id, what, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
