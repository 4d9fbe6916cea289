"""Calls as the database keeps them. Their states are opaque here: `server.calls` writes and reads them.

A call is written by its owner of the moment. Owners are numbered by fences and the states of a call by versions, so one
whose time is over changes nothing any more, and what is written twice is written once.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from server.clock import Clock
from server.errors import ApiError, ErrorCode
from server.model.entities import Call, Delivery, Message
from server.model.enums import CallStatus, ContactStatus, EndReason, MessageType
from server.store import rows, sequence
from server.store.database import Database, inserted_id
from server.store.messages import deliver_change
from server.store.tables import (
    call_events,
    call_members,
    call_reservations,
    calls,
    chat_messages,
    contacts,
    message_deliveries,
)


class Superseded(Exception):
    """A later owner of the call has been at the database: this one's time is over."""


@dataclass(frozen=True, slots=True)
class CallEvent:
    """An entry of a call's timeline. `user_id` is 0 where it's of the call as a whole."""

    at: datetime
    user_id: int
    event: str
    detail: str


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a call has come: who wrote it, which version, and how many events it had."""

    fence: int = 0
    version: int = 0
    events: int = 0


@dataclass(frozen=True, slots=True)
class StoredCall:
    """`state` is None for a call that nobody has managed yet."""

    call: Call
    mark: Mark
    state: Any


@dataclass(frozen=True, slots=True)
class CallUpdate:
    """A call's new state. `events` are the last of the `mark.events` events, `reserved` the users whom it holds."""

    call_id: int
    mark: Mark
    state: Any
    status: CallStatus
    start_time: datetime | None
    end_time: datetime | None
    end_reason: EndReason
    handled_by: frozenset[int]
    reserved: frozenset[int]
    events: Sequence[CallEvent]


@dataclass(frozen=True, slots=True)
class Created:
    """A new call, and the deliveries of its message."""

    call: Call
    deliveries: list[Delivery]


_GET = select(*rows.CALL).where(calls.c.call_id == bindparam("id"))
_STORED = select(*rows.CALL, calls.c.states).where(calls.c.call_id == bindparam("id"))
_LOCK = _STORED.with_for_update()
_OPEN = select(calls.c.call_id).where(calls.c.status < int(CallStatus.END)).order_by(calls.c.call_id)
_ALL_RESERVED = select(call_reservations.c.user_id, call_reservations.c.call_id)
_RESERVED_AMONG = _ALL_RESERVED.where(call_reservations.c.user_id.in_(bindparam("users", expanding=True)))
_RESERVED_BY = select(call_reservations.c.user_id).where(call_reservations.c.call_id == bindparam("id"))
_RESERVE = insert(call_reservations).prefix_with("IGNORE", dialect="mysql").prefix_with("OR IGNORE", dialect="sqlite")
_RELEASE = delete(call_reservations).where(
    call_reservations.c.call_id == bindparam("id"),
    call_reservations.c.user_id.not_in(bindparam("kept", expanding=True)),
)
_CONTACT = select(contacts.c.owner_id, contacts.c.room_id, contacts.c.status).where(
    contacts.c.contact_id == bindparam("id")
)
_MEMBERS = (
    select(contacts.c.owner_id)
    .distinct()
    .where(contacts.c.room_id == bindparam("room"), contacts.c.status == int(ContactStatus.NORMAL))
)
_MESSAGE = (
    select(*rows.MESSAGE)
    .select_from(chat_messages.join(calls, calls.c.call_id == chat_messages.c.call_id))
    .where(chat_messages.c.message_id == bindparam("id"))
)
_NAME_CALL = (
    update(chat_messages).where(chat_messages.c.message_id == bindparam("id")).values(call_id=bindparam("call"))
)
_TOUCH = update(chat_messages).where(chat_messages.c.message_id == bindparam("id")).values(updated_at=bindparam("now"))
_MARK = update(calls).where(calls.c.call_id == bindparam("id")).values(states=bindparam("new_states"))
_UPDATE = (
    update(calls)
    .where(calls.c.call_id == bindparam("id"))
    .values(
        states=bindparam("new_states"),
        status=bindparam("new_status"),
        start_time=bindparam("new_start"),
        end_time=bindparam("new_end"),
        end_reason=bindparam("new_reason"),
        handled_by=bindparam("new_handled"),
        updated_at=bindparam("now"),
    )
)
_LATEST = (
    select(message_deliveries.c.receiver_id, func.max(message_deliveries.c.delivery_id).label("delivery_id"))
    .where(message_deliveries.c.message_id == bindparam("id"))
    .group_by(message_deliveries.c.receiver_id)
)
_HISTORY = (
    select(*rows.CALL)
    .join(call_members, call_members.c.call_id == calls.c.call_id)
    .where(call_members.c.user_id == bindparam("me"))
    .order_by(call_members.c.call_id.desc())
    .limit(bindparam("at_most"))
)
_HISTORY_BEFORE = _HISTORY.where(call_members.c.call_id < bindparam("before"))
_TIMELINE = (
    select(call_events.c.at, call_events.c.user_id, call_events.c.event, call_events.c.detail)
    .where(call_events.c.call_id == bindparam("id"))
    .order_by(call_events.c.event_id)
)


class Calls:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create(self, caller_id: int, contact_id: int, user_ids: Collection[int]) -> Created:
        """A new call in the room of the contact, and the message that tells of it.

        Raises:
            ApiError: CONTACT_NOT_FOUND, FORBIDDEN (somebody else's contact), FIELD_INVALID (not a member's id),
                CALLER_BUSY, CALLEE_BUSY (all of them)
        """
        return await self._database.write(_create, caller_id, contact_id, list(user_ids), self._clock.now())

    async def get(self, call_id: int) -> Call | None:
        found = await self._database.fetch(_GET, {"id": call_id})
        return rows.call(found[0]) if found else None

    async def stored(self, call_id: int) -> StoredCall | None:
        found = await self._database.fetch(_STORED, {"id": call_id})
        return stored_call(found[0]) if found else None

    async def take(self, call_id: int, fence: int) -> StoredCall | None:
        """The call as it was; from now on, owners with a lower fence are `Superseded`.

        Raises:
            Superseded
        """
        return await self._database.write(_take, call_id, fence)

    async def reserve(self, call_id: int, fence: int, user_ids: Iterable[int]) -> frozenset[int]:
        """Reserve those of the users who are in no other call; gives all whom this call holds now.

        Raises:
            Superseded
        """
        return await self._database.write(_reserve, call_id, fence, sorted(user_ids))

    async def reserved(self, user_ids: Collection[int]) -> dict[int, int]:
        """In which call each of these users is, for those who are in one."""
        found = await self._database.fetch(_RESERVED_AMONG, {"users": list(user_ids)})
        return {row.user_id: row.call_id for row in found}

    async def all_reserved(self) -> dict[int, int]:
        """In which call each user is who is in one."""
        return {row.user_id: row.call_id for row in await self._database.fetch(_ALL_RESERVED)}

    async def save(self, new: CallUpdate, *, tell: bool) -> list[Delivery]:
        """Write the call, let go of the users whom it doesn't hold any more, and add to its timeline.

        With `tell`, every member of the room has a delivery of its message, in the same transaction; they are
        returned. A version that is there already is not written again, but its deliveries are returned.

        Raises:
            Superseded
        """
        return await self._database.write(_save, new, tell, self._clock.now())

    async def open_calls(self) -> list[int]:
        """The ids of all calls that haven't ended."""
        return [row.call_id for row in await self._database.fetch(_OPEN)]

    async def history(self, user_id: int, before: int | None, limit: int) -> list[Call]:
        """The calls that the user is a member of (older than the call `before`), the latest first."""
        values = {"me": user_id, "at_most": limit}
        if before is None:
            found = await self._database.fetch(_HISTORY, values)
        else:
            found = await self._database.fetch(_HISTORY_BEFORE, {**values, "before": before})
        return [rows.call(row) for row in found]

    async def timeline(self, call_id: int) -> list[CallEvent]:
        """What happened, in order."""
        found = await self._database.fetch(_TIMELINE, {"id": call_id})
        return [CallEvent(row.at, row.user_id, row.event, row.detail) for row in found]


def stored_call(row: Sequence[Any]) -> StoredCall:
    """From a row that begins with `rows.CALL` and the states."""
    call = rows.call(row)
    states = row[len(rows.CALL)] or {}
    mark = Mark(states.get("fence", 0), states.get("version", 0), states.get("events", 0))
    return StoredCall(call, mark, states.get("state"))


def _states(mark: Mark, state: Any) -> dict[str, Any]:
    return {"fence": mark.fence, "version": mark.version, "events": mark.events, "state": state}


def _create(connection: Connection, caller_id: int, contact_id: int, user_ids: list[int], now: datetime) -> Created:
    contact = connection.execute(_CONTACT, {"id": contact_id}).first()
    if contact is None or (contact.owner_id == caller_id and contact.status != int(ContactStatus.NORMAL)):
        raise ApiError(ErrorCode.CONTACT_NOT_FOUND)
    if contact.owner_id != caller_id:
        raise ApiError(ErrorCode.FORBIDDEN)
    room_members = connection.execute(_MEMBERS, {"room": contact.room_id}).scalars().all()
    if not set(user_ids) <= set(room_members):
        raise ApiError(
            ErrorCode.FIELD_INVALID, field="userIds", rule=("只能包含该联系人的成员", "members of the contact")
        )
    members = [caller_id, *user_ids]
    _refuse_busy(connection, members)
    times = {"created_at": now, "updated_at": now}
    text = {"text": "", "image": "", "thumbnail": "", "revoked": False, "local_id": None}
    message = {"room_id": contact.room_id, "sender_id": caller_id, "type": int(MessageType.CALL), "call_id": 0}
    message_id = inserted_id(connection, chat_messages, {**message, **text, **times})
    call_id = inserted_id(
        connection,
        calls,
        {
            "caller_id": caller_id,
            "message_id": message_id,
            "room_id": contact.room_id,
            "members": members,
            "handled_by": [],
            "states": {},
            "status": int(CallStatus.NEW),
            "start_time": None,
            "end_time": None,
            "end_reason": int(EndReason.NONE),
            **times,
        },
    )
    connection.execute(_NAME_CALL, {"id": message_id, "call": call_id})
    connection.execute(insert(call_members), [{"user_id": user_id, "call_id": call_id} for user_id in sorted(members)])
    call = Call(
        call_id, caller_id, message_id, contact.room_id, tuple(members), CallStatus.NEW, None, None, EndReason.NONE,
        frozenset(), now, now,
    )  # fmt: skip
    told = Message(
        message_id, contact.room_id, caller_id, MessageType.CALL, "", "", "", call_id, False, "", now, now, call
    )
    allocated = sequence.deliver(connection, message_id, room_members, now, is_new=True)
    return Created(call, [Delivery(user_id, number, True, told) for user_id, number in allocated.items()])


def _refuse_busy(connection: Connection, members: list[int]) -> None:
    """Only to spare people a call that its manager would end as busy: two who ask at once both pass."""
    busy = {row.user_id for row in connection.execute(_RESERVED_AMONG, {"users": members})}
    if members[0] in busy:
        raise ApiError(ErrorCode.CALLER_BUSY)
    if busy.issuperset(members[1:]):
        raise ApiError(ErrorCode.CALLEE_BUSY)


def _message(connection: Connection, message_id: int) -> Message:
    return rows.message(connection.execute(_MESSAGE, {"id": message_id}).one())


def _take(connection: Connection, call_id: int, fence: int) -> StoredCall | None:
    row = connection.execute(_LOCK, {"id": call_id}).first()
    if row is None:
        return None
    stored = stored_call(row)
    _refuse_late(stored, fence)
    if stored.mark.fence < fence:
        states = _states(replace(stored.mark, fence=fence), stored.state)
        connection.execute(_MARK, {"id": call_id, "new_states": states})
    return stored


def _reserve(connection: Connection, call_id: int, fence: int, user_ids: list[int]) -> frozenset[int]:
    row = connection.execute(_LOCK, {"id": call_id}).one()
    stored = stored_call(row)
    _refuse_late(stored, fence)
    if stored.call.status is not CallStatus.END and user_ids:
        connection.execute(_RESERVE, [{"user_id": user_id, "call_id": call_id} for user_id in user_ids])
    return frozenset(connection.execute(_RESERVED_BY, {"id": call_id}).scalars())


def _save(connection: Connection, new: CallUpdate, tell: bool, now: datetime) -> list[Delivery]:
    stored = stored_call(connection.execute(_LOCK, {"id": new.call_id}).one())
    _refuse_late(stored, new.mark.fence)
    message_id = stored.call.message_id
    if new.mark.version <= stored.mark.version:
        return _latest(connection, message_id) if tell else []
    connection.execute(
        _UPDATE,
        {
            "id": new.call_id,
            "new_states": _states(new.mark, new.state),
            "new_status": int(new.status),
            "new_start": new.start_time,
            "new_end": new.end_time,
            "new_reason": int(new.end_reason),
            "new_handled": sorted(new.handled_by),
            "now": now,
        },
    )
    connection.execute(_RELEASE, {"id": new.call_id, "kept": sorted(new.reserved)})
    missing = new.mark.events - stored.mark.events
    if missing > 0:
        events = new.events[-missing:]
        connection.execute(insert(call_events), [{"call_id": new.call_id, **asdict(event)} for event in events])
    if not tell:
        return []
    connection.execute(_TOUCH, {"id": message_id, "now": now})
    return deliver_change(connection, _message(connection, message_id), now)


def _latest(connection: Connection, message_id: int) -> list[Delivery]:
    message = _message(connection, message_id)
    latest = connection.execute(_LATEST, {"id": message_id})
    return [Delivery(row.receiver_id, row.delivery_id, False, message) for row in latest]


def _refuse_late(stored: StoredCall, fence: int) -> None:
    if stored.mark.fence > fence:
        raise Superseded
