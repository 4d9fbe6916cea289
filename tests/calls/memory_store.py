"""A `CallStore` in memory, with the guarantees of the real one; `test_call_store` holds both to them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from server.calls.codec import Record, TimelineEntry
from server.calls.ports import Superseded
from server.calls.state import CallState, new_call
from server.clock import from_epoch_millis
from server.model.entities import Call, Delivery, Message
from server.model.enums import MessageType


@dataclass
class Row:
    record: Record
    timeline: list[TimelineEntry] = field(default_factory=list)
    deliveries: dict[int, Delivery] = field(default_factory=dict)
    """The latest for each member."""


class MemoryDatabase:
    """What the stores of several processes share."""

    def __init__(self) -> None:
        self.rows: dict[int, Row] = {}
        self.reservations: dict[int, int] = {}
        self.delivered: dict[int, list[Delivery]] = {}

    def create(self, members: Sequence[int], now: int) -> tuple[int, list[Delivery]]:
        """A new call, and the deliveries of its message."""
        call_id = len(self.rows) + 1
        row = self.rows[call_id] = Row(Record(0, new_call(call_id, tuple(members), now)))
        return call_id, self._deliver(row, is_new=True)

    def take(self, call_id: int, fence: int) -> Record | None:
        row = self.rows.get(call_id)
        if row is None:
            return None
        before = row.record
        self._check(before, fence)
        row.record = replace(before, fence=fence)
        return before

    def reserve(self, call_id: int, fence: int, user_ids: Iterable[int]) -> frozenset[int]:
        record = self.rows[call_id].record
        self._check(record, fence)
        if record.call.open:
            for user_id in user_ids:
                self.reservations.setdefault(user_id, call_id)
        return frozenset(user_id for user_id, holder in self.reservations.items() if holder == call_id)

    def save(self, record: Record, *, tell: bool) -> list[Delivery]:
        row = self.rows[record.call.call_id]
        stored = row.record
        self._check(stored, record.fence)
        if record.call.version > stored.call.version:
            row.timeline += record.unsaved[len(record.unsaved) - (record.noted - stored.noted) :]
            row.record = Record(record.fence, record.call, noted=record.noted)
            self._reserve_exactly(record.call)
            if tell:
                return self._deliver(row, is_new=False)
        return list(row.deliveries.values()) if tell else []

    def _check(self, stored: Record, fence: int) -> None:
        if stored.fence > fence:
            raise Superseded

    def _reserve_exactly(self, call: CallState) -> None:
        for user_id in [user_id for user_id, holder in self.reservations.items() if holder == call.call_id]:
            if user_id not in call.reserved:
                del self.reservations[user_id]
        for user_id in sorted(call.reserved):
            holder = self.reservations.setdefault(user_id, call.call_id)
            assert holder == call.call_id, f"{user_id} is in calls {holder} and {call.call_id}"

    def _deliver(self, row: Row, *, is_new: bool) -> list[Delivery]:
        message = message_of(row.record.call)
        for member in row.record.call.members:
            sent = self.delivered.setdefault(member.user_id, [])
            delivery = Delivery(member.user_id, len(sent) + 1, is_new, message)
            sent.append(delivery)
            row.deliveries[member.user_id] = delivery
        return list(row.deliveries.values())


def message_of(call: CallState) -> Message:
    created = from_epoch_millis(call.created)
    entity = Call(
        call_id=call.call_id,
        caller_id=call.caller.user_id,
        message_id=call.call_id,
        room_id=call.call_id,
        members=tuple(member.user_id for member in call.members),
        status=call.status,
        start_time=from_epoch_millis(call.started) if call.started else None,
        end_time=from_epoch_millis(call.ended) if call.ended else None,
        end_reason=call.reason,
        handled_by=call.handled,
        created_at=created,
        updated_at=created,
    )
    return Message(
        message_id=call.call_id,
        room_id=call.call_id,
        sender_id=call.caller.user_id,
        type=MessageType.CALL,
        text="",
        image="",
        thumbnail="",
        call_id=call.call_id,
        revoked=False,
        local_id="",
        created_at=created,
        updated_at=created,
        call=entity,
    )


class MemoryCallStore:
    """One process' way to the database. See `ports.CallStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self.database = database

    async def record(self, call_id: int) -> Record | None:
        await self.reach()
        row = self.database.rows.get(call_id)
        return None if row is None else row.record

    async def take(self, call_id: int, fence: int) -> Record | None:
        await self.reach()
        return self.database.take(call_id, fence)

    async def reserve(self, call_id: int, fence: int, user_ids: Iterable[int]) -> frozenset[int]:
        await self.reach()
        return self.database.reserve(call_id, fence, user_ids)

    async def elsewhere(self, call_id: int, user_id: int) -> bool:
        await self.reach()
        return self.database.reservations.get(user_id, call_id) != call_id

    async def save(self, record: Record, *, tell: bool) -> Sequence[Delivery]:
        await self.reach()
        return self.database.save(record, tell=tell)

    async def open_calls(self) -> Sequence[int]:
        await self.reach()
        return [call_id for call_id, row in self.database.rows.items() if row.record.call.open]

    async def reach(self) -> None:
        """The way to the database and back; may raise StoreUnavailable."""
