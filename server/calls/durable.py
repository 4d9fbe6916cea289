"""Calls in the database: how their records are written there."""

import logging
from collections.abc import Iterable, Sequence

from server.calls.codec import Record, TimelineEntry, Unreadable, call_from_json, call_to_json
from server.calls.state import new_call
from server.clock import epoch_millis, from_epoch_millis
from server.model.entities import Delivery
from server.model.enums import CallStatus
from server.store.calls import CallEvent, Calls, CallUpdate, Mark, StoredCall

_log = logging.getLogger(__name__)


class DurableCalls:
    """See `ports.CallStore`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def record(self, call_id: int) -> Record | None:
        stored = await self._calls.stored(call_id)
        return None if stored is None else record_of(stored)

    async def take(self, call_id: int, fence: int) -> Record | None:
        stored = await self._calls.take(call_id, fence)
        return None if stored is None else record_of(stored)

    async def reserve(self, call_id: int, fence: int, user_ids: Iterable[int]) -> frozenset[int]:
        return await self._calls.reserve(call_id, fence, user_ids)

    async def elsewhere(self, call_id: int, user_id: int) -> bool:
        reserved = await self._calls.reserved([user_id])
        return reserved.get(user_id, call_id) != call_id

    async def save(self, record: Record, *, tell: bool) -> Sequence[Delivery]:
        call = record.call
        update = CallUpdate(
            call_id=call.call_id,
            mark=Mark(record.fence, call.version, record.noted),
            state=call_to_json(call),
            status=call.status,
            start_time=from_epoch_millis(call.started) if call.started else None,
            end_time=from_epoch_millis(call.ended) if call.ended else None,
            end_reason=call.reason,
            handled_by=call.handled,
            reserved=call.reserved,
            events=[_event(entry) for entry in record.unsaved],
        )
        return await self._calls.save(update, tell=tell)

    async def open_calls(self) -> Sequence[int]:
        return await self._calls.open_calls()


def _event(entry: TimelineEntry) -> CallEvent:
    return CallEvent(from_epoch_millis(entry.at), entry.user_id, entry.what.value, entry.detail)


def record_of(stored: StoredCall) -> Record | None:
    """None for a call that ended before this server's time."""
    call, mark = stored.call, stored.mark
    if stored.state is not None:
        try:
            return Record(mark.fence, call_from_json(stored.state), noted=mark.events)
        except Unreadable:
            _log.exception("call %d: its state in the database can't be read; it begins anew", call.call_id)
    if call.status is CallStatus.END:
        return None
    return Record(mark.fence, new_call(call.call_id, call.members, epoch_millis(call.created_at)), noted=mark.events)
