"""Timers on Redis: a sorted set of when each is due. A process' heartbeat claims those that are; a local timer lets it
beat just then."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from server.bus.interface import BusUnavailable, TimerHandler
from server.bus.redis.link import Link
from server.bus.redis.names import Names
from server.bus.redis.scripts import FINISH_TIMER, SET_TIMER
from server.clock import Clock
from server.tasks import OwnedTasks

_log = logging.getLogger(__name__)

_FINISH_AGAIN = 0.5
_FINISH_TRIES = 6


class Timers:
    """`beat_soon` is called when a timer may be due."""

    def __init__(self, link: Link, names: Names, clock: Clock, beat_soon: Callable[[], None]) -> None:
        self._link = link
        self._names = names
        self._clock = clock
        self._beat_soon = beat_soon
        self._handlers: dict[str, TimerHandler] = {}
        self._alarm: asyncio.Handle | None = None
        self._alarm_at = 0.0
        self._tasks = OwnedTasks("timers")

    @property
    def kinds(self) -> list[str]:
        return list(self._handlers)

    def handle(self, kind: str, handler: TimerHandler) -> None:
        self._handlers[kind] = handler

    async def set(self, name: str, due: datetime, data: bytes) -> None:
        """Only the time until then matters: the clocks of machines differ."""
        wait = max(0, round((due - self._clock.now()).total_seconds() * 1000))
        keys = (self._names.timers, self._names.timer_data)
        await self._link.run(SET_TIMER, keys, name, wait, data, self._names.all_channel)

    async def drop(self, name: str) -> None:
        # finished first: a timer without data fires with none, data without a timer would stay behind
        await self._link.command("ZREM", self._names.timers, name, operation="drop_timer")
        await self._link.command("HDEL", self._names.timer_data, name, operation="drop_timer")

    def next_in(self, millis: int) -> None:
        """A timer is due in `millis`; -1: there is none."""
        if millis < 0 or not self._handlers:
            return
        loop = asyncio.get_running_loop()
        when = loop.time() + millis / 1000
        if self._alarm is not None:
            if loop.time() < self._alarm_at <= when:
                return
            self._alarm.cancel()
        self._alarm_at = when
        self._alarm = loop.call_at(when, self._beat_soon)

    def fire(self, name: str, data: bytes, claim: bytes) -> None:
        handler = self._handlers[name.partition(":")[0]]
        self._tasks.start(self._run(handler, name, data, claim), name)

    async def _run(self, handler: TimerHandler, name: str, data: bytes, claim: bytes) -> None:
        await handler(name, data)
        keys = (self._names.timers, self._names.timer_data)
        for _ in range(_FINISH_TRIES):
            try:
                await self._link.run(FINISH_TIMER, keys, name, claim)
            except BusUnavailable:
                await asyncio.sleep(_FINISH_AGAIN)
            else:
                return
        _log.warning("timer %s has fired and may fire again: the bus is away", name)

    async def close(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        await self._tasks.close()
