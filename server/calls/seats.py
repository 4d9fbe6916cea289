"""The seats of this process, and whether their clients are alive."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Coroutine, Iterator
from typing import Any

from server.bus.interface import Bus
from server.calls.codec import Record
from server.calls.events import Silent
from server.calls.kept import record_on_bus
from server.calls.metrics import CallMetrics
from server.calls.outbox import Outbox
from server.calls.outlet import OutletClosed
from server.calls.ports import CallStore
from server.calls.seat import Seat
from server.clock import Clock, epoch_millis
from server.errors import Language
from server.tasks import OwnedTasks

_LATE = 1.0
"""Seconds: a timer that fires so late was held up, and so were the heartbeats that wait to be read."""


class Seats:
    """A heartbeat counts when it is read; only that one is missing is said to the manager, so an idle call costs
    the bus nothing. `limit`: messages of one client that may wait to be posted."""

    def __init__(
        self,
        bus: Bus,
        store: CallStore,
        outbox: Outbox,
        clock: Clock,
        metrics: CallMetrics,
        *,
        heartbeat_timeout: float,
        limit: int,
    ) -> None:
        self.bus = bus
        self.outbox = outbox
        self.limit = limit
        self._store = store
        self._clock = clock
        self.metrics = metrics
        self._timeout = heartbeat_timeout
        self._alive: OrderedDict[Seat, float] = OrderedDict()
        """When each was heard last, in the order of that."""
        self._timer: asyncio.TimerHandle | None = None
        self._tasks = OwnedTasks("seats")

    def seat(self, call_id: int, user_id: int, client: str, language: Language, opened: int) -> Seat:
        """A seat that isn't entered yet. `client` names the page that asks: what its token has and others don't;
        `opened` is when it connected (see `now`)."""
        seat = Seat(self, call_id, user_id, client, language, opened)
        self.heartbeat(seat)
        self.metrics.seats.set(len(self._alive))
        return seat

    def __iter__(self) -> Iterator[Seat]:
        return iter(list(self._alive))

    def __len__(self) -> int:
        return len(self._alive)

    def now(self) -> int:
        """Milliseconds since 1970."""
        return epoch_millis(self._clock.now())

    async def record(self, call_id: int) -> Record | None:
        """The call's state, from the bus or else from the database. Raises BusUnavailable, StoreUnavailable."""
        return await record_on_bus(self.bus, call_id) or await self._store.record(call_id)

    def heartbeat(self, seat: Seat) -> None:
        now = asyncio.get_running_loop().time()
        self._alive[seat] = now
        self._alive.move_to_end(seat)
        if self._timer is None:
            self._arm(now + self._timeout)

    def left(self, seat: Seat) -> None:
        self._alive.pop(seat, None)
        self.metrics.seats.set(len(self._alive))

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a seat's work beside its reader and writer."""

        async def guarded() -> None:
            with contextlib.suppress(OutletClosed):
                await work

        self._tasks.start(guarded())

    async def close(self) -> None:
        await self._tasks.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, when: float) -> None:
        self._timer = asyncio.get_running_loop().call_at(when, self._look, when)

    def _look(self, due: float) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        if now - due > _LATE:
            self._arm(now + _LATE)
            return
        for seat, heard in list(self._alive.items()):
            if heard + self._timeout > now:
                break
            self._alive[seat] = now  # said again should it still be silent next time
            self._alive.move_to_end(seat)
            if seat.inside:
                self.outbox.say(seat.call_id, Silent(seat.user_id, seat.socket))
        if self._alive:
            self._arm(next(iter(self._alive.values())) + self._timeout)
