"""The calls as the rest of a process uses them: begin one, ask its manager wherever it is, take a seat in it."""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Mapping

from server.bus.interface import Bus, BusUnavailable, MailboxLost, Post
from server.calls.audit import Audit
from server.calls.codec import Asked, Said, Unreadable, decode_answer, encode_said
from server.calls.deadlines import Deadlines
from server.calls.events import HangUp, Join, Tick
from server.calls.manager import Manager
from server.calls.metrics import CallMetrics
from server.calls.monitor import Monitor
from server.calls.names import MANAGER, REPLIES_TTL, call_group, replies_address
from server.calls.office import Office
from server.calls.outbox import Outbox
from server.calls.ports import CallNotifier, CallStore, CallTimes
from server.calls.seats import Seats
from server.calls.state import CallState
from server.clock import Clock, epoch_millis
from server.errors import ApiError, ErrorCode
from server.store.errors import StoreUnavailable
from server.tasks import OwnedTasks

_log = logging.getLogger(__name__)

_SOON = 0.05
"""Seconds within which a manager answers, unless something is wrong."""
_ASK_AGAIN = 2.0
_NOBODY = 0.2
_FLUSH = 1.0


class Calls:
    """`start` before use, `stop` after; the bus and the store outlive it."""

    def __init__(
        self,
        *,
        bus: Bus,
        store: CallStore,
        notifier: CallNotifier,
        clock: Clock,
        times: CallTimes,
        metrics: CallMetrics,
        seat_limit: int = 10_000,
    ) -> None:
        self._bus = bus
        self._store = store
        self._clock = clock
        self._times = times
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[ErrorCode | None]] = {}
        self._tasks = OwnedTasks("calls")
        self._outbox = Outbox(bus, self.want)
        self._deadlines: Deadlines[int] = Deadlines(lambda call_id: self._outbox.say(call_id, Tick()))
        office = Office(bus, store, notifier, clock, times.rules, self._deadlines, self._suspect, metrics)
        self._monitor = Monitor(office, times.lease, self._outbox.forget)
        self._audit = Audit(bus, self._outbox, self._monitor.managers)
        self.seats = Seats(
            bus, store, self._outbox, clock, metrics, heartbeat_timeout=times.heartbeat_timeout, limit=seat_limit
        )

    @property
    def managers(self) -> Mapping[int, Manager]:
        """The managers of this process by their calls."""
        return self._monitor.managers

    async def start(self) -> None:
        self._bus.on_disruption(self._disrupted)
        self._tasks.start(self._outbox.run(), "outbox")
        self._tasks.start(self._read_answers(), "answers")
        self._tasks.start(self._audit.run(), "audit")
        await self._monitor.start()

    async def stop(self) -> None:
        """Hand every call over. Its seats should have been left before."""
        await self._outbox.drain(_FLUSH)
        await self._monitor.stop()
        await self._tasks.close()
        self._deadlines.close()
        await self.seats.close()

    async def begin(self, call: CallState) -> None:
        """Manage a call that was just created (see `state.new_call`). If that fails, it is logged, and the call begins
        with the next look for calls without an owner, here or elsewhere."""
        await self._monitor.take(call.call_id, new=call)

    async def ask(self, call_id: int, event: Join | HangUp) -> None:
        """Have the call's manager carry out `event`.

        Raises:
            ApiError: with its refusal; CALL_MANAGER_GONE if no manager answers in time.
        """
        number = next(self._numbers)
        answer: asyncio.Future[ErrorCode | None] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        until = epoch_millis(self._clock.now()) + round(self._times.answer * 1000)
        asked = Asked(self._bus.process_id, number, until)
        post = Post(call_group(call_id), encode_said(Said(event, asked)), MANAGER)
        try:
            async with asyncio.timeout(self._times.answer):
                refusal = await self._ask(call_id, post, answer, hangs_up=isinstance(event, HangUp))
        except TimeoutError as error:
            raise ApiError(ErrorCode.CALL_MANAGER_GONE) from error
        finally:
            del self._asked[number]
        if refusal is not None:
            raise ApiError(refusal)

    async def _ask(
        self, call_id: int, post: Post, answer: "asyncio.Future[ErrorCode | None]", *, hangs_up: bool
    ) -> ErrorCode | None:
        while True:
            heard = 0
            try:
                (heard,) = await self._bus.post([post])
                if not heard and await self._has_ended(call_id):
                    return None if hangs_up else ErrorCode.CALL_ENDED
            except (BusUnavailable, StoreUnavailable) as error:
                _log.warning("call %d: its manager can't be asked: %s", call_id, error)
            if not heard:
                self._monitor.want(call_id)
            done, _ = await asyncio.wait({answer}, timeout=_SOON if heard else _NOBODY)
            if heard and not done:
                # whoever ended the call just then throws away what comes too late
                with contextlib.suppress(BusUnavailable, StoreUnavailable):
                    if await self._has_ended(call_id):
                        return None if hangs_up else ErrorCode.CALL_ENDED
                done, _ = await asyncio.wait({answer}, timeout=_ASK_AGAIN)
            if done:
                return answer.result()

    async def _has_ended(self, call_id: int) -> bool:
        record = await self._store.record(call_id)
        return record is None or not record.call.open

    async def _read_answers(self) -> None:
        address = replies_address(self._bus.process_id)
        while True:
            try:
                mailbox = await self._bus.open_mailbox(address, ttl=REPLIES_TTL, create=True)
                while True:
                    for entry in await mailbox.read():
                        self._take_answer(entry.data)
                        mailbox.ack(entry.seq)
            except MailboxLost:
                continue
            except BusUnavailable:
                await asyncio.sleep(_NOBODY)

    def _take_answer(self, data: bytes) -> None:
        try:
            number, refusal = decode_answer(data)
        except Unreadable:
            _log.exception("what a manager answered can't be read")
            return
        answer = self._asked.get(number)
        if answer is not None and not answer.done():
            answer.set_result(refusal)

    def want(self, call_id: int) -> None:
        """Somebody has to do with a call that nobody seems to manage."""
        self._monitor.want(call_id)

    def _suspect(self, call_id: int) -> None:
        self._audit.suspect(call_id)

    def _disrupted(self) -> None:
        self._monitor.disrupted()
        self._audit.suspect_all()
