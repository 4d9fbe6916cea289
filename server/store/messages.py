"""Messages: sending, reading and changing them."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, exists, select, update

from server.errors import ApiError, ErrorCode
from server.model.entities import Delivery, Message
from server.model.enums import ContactStatus, MessageType
from server.store import rows, sequence
from server.store.database import Database
from server.store.files import change_references
from server.store.sending import SendRequest, SendResult
from server.store.tables import calls, chat_messages, contacts
from server.store.writer import SendWriter


@dataclass(frozen=True, slots=True)
class Change:
    """A message as a change left it, and the deliveries that tell of it (none if nothing changed)."""

    message: Message
    deliveries: list[Delivery]


_WITH_CALLS = chat_messages.outerjoin(calls, calls.c.call_id == chat_messages.c.call_id)
_GET = select(*rows.MESSAGE).select_from(_WITH_CALLS).where(chat_messages.c.message_id == bindparam("id"))
_LOCK = select(chat_messages.c.message_id).where(chat_messages.c.message_id == bindparam("id")).with_for_update()
_HISTORY = (
    select(*rows.MESSAGE)
    .select_from(_WITH_CALLS)
    .where(
        chat_messages.c.room_id == bindparam("room"),
        exists().where(
            contacts.c.room_id == bindparam("room"),
            contacts.c.owner_id == bindparam("viewer"),
            contacts.c.status == int(ContactStatus.NORMAL),
        ),
    )
    .order_by(chat_messages.c.message_id.desc())
    .limit(bindparam("at_most"))
)
_HISTORY_BEFORE = _HISTORY.where(chat_messages.c.message_id < bindparam("before"))
_MEMBERS = (
    select(contacts.c.owner_id)
    .distinct()
    .where(contacts.c.room_id == bindparam("room"), contacts.c.status == int(ContactStatus.NORMAL))
)
_UPDATE = (
    update(chat_messages)
    .where(chat_messages.c.message_id == bindparam("id"))
    .values(
        text=bindparam("new_text"),
        image=bindparam("new_image"),
        thumbnail=bindparam("new_thumbnail"),
        revoked=bindparam("now_revoked"),
        updated_at=bindparam("now"),
    )
)


class Messages:
    def __init__(self, database: Database, writer: SendWriter, revoke_window: timedelta) -> None:
        self._database = database
        self._writer = writer
        self._revoke_window = revoke_window

    async def send(self, request: SendRequest) -> SendResult:
        """Returns when the message is committed; delivered to every member of the room, the sender included.

        Raises:
            ApiError: CONTACT_NOT_FOUND, FORBIDDEN (somebody else's contact)
            StoreUnavailable: and it may have been committed all the same, if the answer was lost or late.
        """
        return await self._writer.send(request)

    async def get(self, message_id: int) -> Message | None:
        found = await self._database.fetch(_GET, {"id": message_id})
        return rows.message(found[0]) if found else None

    async def history(self, room_id: int, before: int | None, limit: int, viewer: int) -> list[Message]:
        """The newest messages of the room (older than the message `before`), oldest first; nothing for a
        `viewer` who isn't a member. One statement."""
        values = {"room": room_id, "viewer": viewer, "at_most": limit}
        if before is None:
            found = await self._database.fetch(_HISTORY, values)
        else:
            found = await self._database.fetch(_HISTORY_BEFORE, {**values, "before": before})
        return [rows.message(row) for row in reversed(found)]

    async def revoke(self, message_id: int, me: int, now: datetime) -> Change:
        """Empty one's own message. Again is no error and changes nothing.

        Raises:
            ApiError: FORBIDDEN (unknown, not one's own, or a call), REVOKE_TOO_LATE
        """
        return await self._database.write(_revoke, message_id, me, now, now - self._revoke_window)

    async def fill_image(self, message_id: int, me: int, image: str, now: datetime) -> Change:
        """Add the image to one's own image message.

        Raises:
            ApiError: FORBIDDEN (unknown, not one's own, no image message, has one already, or revoked)
        """
        return await self._database.write(_fill_image, message_id, me, image, now)


def _revoke(connection: Connection, message_id: int, me: int, now: datetime, not_before: datetime) -> Change:
    message = _locked(connection, message_id)
    if message is None or message.sender_id != me or message.type is MessageType.CALL:
        raise ApiError(ErrorCode.FORBIDDEN)
    if message.revoked:
        return Change(message, [])
    if message.created_at < not_before:
        raise ApiError(ErrorCode.REVOKE_TOO_LATE)
    change_references(connection, now, stored=[], dropped=[message.image, message.thumbnail])
    return _change(connection, replace(message, text="", image="", thumbnail="", revoked=True, updated_at=now), now)


def _fill_image(connection: Connection, message_id: int, me: int, image: str, now: datetime) -> Change:
    message = _locked(connection, message_id)
    if message is None or message.sender_id != me or message.type is not MessageType.IMAGE:
        raise ApiError(ErrorCode.FORBIDDEN)
    if message.image or message.revoked:
        raise ApiError(ErrorCode.FORBIDDEN)
    change_references(connection, now, stored=[image], dropped=[])
    return _change(connection, replace(message, image=image, updated_at=now), now)


def _locked(connection: Connection, message_id: int) -> Message | None:
    # In two steps: the lock must not extend to the joined call, which is locked before its message elsewhere.
    connection.execute(_LOCK, {"id": message_id}).all()
    row = connection.execute(_GET, {"id": message_id}).first()
    return None if row is None else rows.message(row)


def _change(connection: Connection, message: Message, now: datetime) -> Change:
    values = {"id": message.message_id, "new_text": message.text, "new_image": message.image, "now": now}
    connection.execute(_UPDATE, {**values, "new_thumbnail": message.thumbnail, "now_revoked": message.revoked})
    return Change(message, deliver_change(connection, message, now))


def deliver_change(connection: Connection, message: Message, now: datetime) -> list[Delivery]:
    """Tell every member of the room, within the transaction that changed `message`, whose row it has locked."""
    members = connection.execute(_MEMBERS, {"room": message.room_id}).scalars()
    allocated = sequence.deliver(connection, message.message_id, members, now, is_new=False)
    return [Delivery(user_id, delivery_id, False, message) for user_id, delivery_id in allocated.items()]
