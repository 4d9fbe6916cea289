"""Contact lists and contact requests.

Whatever two users do about each other at once is put in a row by locks on their two rows of `users`, taken in the
order of their ids; unique keys make sure that a contact has no twin.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, insert, or_, select, update

from server.clock import Clock
from server.errors import ApiError, ErrorCode
from server.model.entities import Contact, ContactRequest, User
from server.model.enums import ContactStatus, RequestStatus
from server.store import rows
from server.store.database import Database, T, inserted_id
from server.store.tables import chat_messages, chat_rooms, contact_requests, contacts, group_members, users
from server.store.types import AnySelect

_newest = chat_messages.alias("newest")


def select_contacts(*conditions: ColumnElement[bool]) -> AnySelect:
    """Contacts with the newest message of their room: one key lookup each."""
    newest_id = select(func.max(_newest.c.message_id)).where(_newest.c.room_id == contacts.c.room_id).scalar_subquery()
    return (
        select(*rows.CONTACT)
        .select_from(contacts.outerjoin(chat_messages, chat_messages.c.message_id == newest_id))
        .where(contacts.c.status == int(ContactStatus.NORMAL), *conditions)
    )


_NORMAL = contacts.c.status == int(ContactStatus.NORMAL)
_PENDING = contact_requests.c.status == int(RequestStatus.PENDING)
_OF_OWNER = select_contacts(contacts.c.owner_id == bindparam("me"))
_GET = select_contacts(contacts.c.contact_id == bindparam("id"))
_CHANGED_SINCE = select_contacts(
    contacts.c.owner_id.in_(bindparam("user_ids", expanding=True)), contacts.c.updated_at >= bindparam("moment")
).order_by(contacts.c.contact_id)
_USERS = select(*rows.USER).where(users.c.user_id.in_(bindparam("user_ids", expanding=True))).order_by(users.c.user_id)
_GROUP_USERS = (
    select(*rows.USER)
    .join(group_members, group_members.c.user_id == users.c.user_id)
    .where(group_members.c.group_id == bindparam("in_group"))
    .order_by(group_members.c.id)
)
_MEMBER_IDS = (
    select(contacts.c.owner_id)
    .distinct()
    .where(contacts.c.room_id == bindparam("room"), _NORMAL)
    .order_by(contacts.c.owner_id)
)
_PENDING_FOR = (
    select(*rows.REQUEST)
    .where(contact_requests.c.user_id == bindparam("me"), _PENDING, contact_requests.c.expired_at > bindparam("now"))
    .order_by(contact_requests.c.id.desc())
)
_REQUESTS_CHANGED_SINCE = (
    select(*rows.REQUEST)
    .where(
        contact_requests.c.user_id.in_(bindparam("user_ids", expanding=True)),
        _PENDING,
        contact_requests.c.updated_at >= bindparam("moment"),
    )
    .order_by(contact_requests.c.id)
)
_LOCK_USERS = (
    select(users.c.user_id)
    .where(users.c.user_id.in_(bindparam("ids", expanding=True)))
    .order_by(users.c.user_id)
    .with_for_update()
)
_REQUEST = select(*rows.REQUEST).where(contact_requests.c.id == bindparam("id"))
_PENDING_BETWEEN = (
    select(*rows.REQUEST)
    .where(
        or_(
            and_(contact_requests.c.request_uid == bindparam("a"), contact_requests.c.user_id == bindparam("b")),
            and_(contact_requests.c.request_uid == bindparam("b"), contact_requests.c.user_id == bindparam("a")),
        ),
        _PENDING,
    )
    .order_by(contact_requests.c.id)
    .with_for_update()
)
_SET_STATUS = (
    update(contact_requests)
    .where(contact_requests.c.id.in_(bindparam("ids", expanding=True)))
    .values(status=bindparam("new_status"), updated_at=bindparam("now"))
)
_BETWEEN = (
    select(contacts.c.contact_id, contacts.c.owner_id, contacts.c.room_id, contacts.c.status)
    .where(
        or_(
            and_(contacts.c.owner_id == bindparam("a"), contacts.c.user_id == bindparam("b")),
            and_(contacts.c.owner_id == bindparam("b"), contacts.c.user_id == bindparam("a")),
        )
    )
    .order_by(contacts.c.contact_id)
)
_ROOM_NAMED = select(chat_rooms.c.room_id).where(chat_rooms.c.name == bindparam("room_name"))
_RENEW = (
    update(contacts)
    .where(contacts.c.contact_id.in_(bindparam("ids", expanding=True)))
    .values(status=int(ContactStatus.NORMAL), room_id=bindparam("room"), updated_at=bindparam("now"))
)
_OF_ROOM = select_contacts(contacts.c.room_id == bindparam("room")).order_by(contacts.c.contact_id)


class Contacts:
    def __init__(self, database: Database, clock: Clock, request_lifetime: timedelta) -> None:
        self._database = database
        self._clock = clock
        self._request_lifetime = request_lifetime

    async def of_owner(self, user_id: int) -> list[Contact]:
        """The contact list, last changed first."""
        found = [rows.contact(row) for row in await self._database.fetch(_OF_OWNER, {"me": user_id})]
        return sorted(found, key=lambda contact: (contact.updated_at, contact.contact_id), reverse=True)

    async def get(self, contact_id: int) -> Contact | None:
        found = await self._database.fetch(_GET, {"id": contact_id})
        return rows.contact(found[0]) if found else None

    async def members(self, contact: Contact) -> list[User]:
        """The two of a user contact, by id; all of a group, in the order they came."""
        if contact.group_id:
            found = await self._database.fetch(_GROUP_USERS, {"in_group": contact.group_id})
        else:
            found = await self._database.fetch(_USERS, {"user_ids": [contact.owner_id, contact.user_id]})
        return [rows.user(row) for row in found]

    async def member_ids(self, room_id: int) -> list[int]:
        """Whoever has the room in the contact list: they get what is sent there."""
        return [row.owner_id for row in await self._database.fetch(_MEMBER_IDS, {"room": room_id})]

    async def changed_since(self, user_ids: Collection[int], moment: datetime) -> list[Contact]:
        """Contacts of these users that were made or renewed since. (A new message is a delivery, not a change here.)"""
        if not user_ids:
            return []
        found = await self._database.fetch(_CHANGED_SINCE, {"user_ids": list(user_ids), "moment": moment})
        return [rows.contact(row) for row in found]

    async def request(self, from_uid: int, to_uid: int) -> ContactRequest:
        """`from_uid` asks `to_uid`.

        Raises:
            ApiError: FIELD_INVALID (oneself), USER_NOT_FOUND, CONTACT_EXISTS, REQUEST_PENDING (in either direction)
        """
        if from_uid == to_uid:
            raise ApiError(ErrorCode.FIELD_INVALID, field="userId", rule=("不能添加自己", "must be another user"))
        now = self._clock.now()
        return await self._database.write(_request, from_uid, to_uid, now, now + self._request_lifetime)

    async def pending_for(self, user_id: int) -> list[ContactRequest]:
        """What waits for this user's answer, newest first."""
        found = await self._database.fetch(_PENDING_FOR, {"me": user_id, "now": self._clock.now()})
        return [rows.request(row) for row in found]

    async def requests_changed_since(self, user_ids: Collection[int], moment: datetime) -> list[ContactRequest]:
        """Pending requests to these users that were made since."""
        if not user_ids:
            return []
        found = await self._database.fetch(_REQUESTS_CHANGED_SINCE, {"user_ids": list(user_ids), "moment": moment})
        return [rows.request(row) for row in found]

    async def accept(self, request_id: int, me: int) -> list[Contact]:
        """Make both contacts and their room, and settle every request between the two. Gives both contacts.

        Raises:
            ApiError: REQUEST_NOT_FOUND, REQUEST_HANDLED, REQUEST_EXPIRED
        """
        return _unless_error(await self._database.write(_accept, request_id, me, self._clock.now()))

    async def reject(self, request_id: int, me: int) -> ContactRequest:
        """The request as it is now.

        Raises:
            ApiError: REQUEST_NOT_FOUND, REQUEST_HANDLED, REQUEST_EXPIRED
        """
        return _unless_error(await self._database.write(_reject, request_id, me, self._clock.now()))


def _unless_error(outcome: T | ApiError) -> T:
    """A transaction that has to be committed all the same gives its error instead of raising it."""
    if isinstance(outcome, ApiError):
        raise outcome
    return outcome


def _request(connection: Connection, from_uid: int, to_uid: int, now: datetime, expired_at: datetime) -> ContactRequest:
    if len(connection.execute(_LOCK_USERS, {"ids": [from_uid, to_uid]}).all()) < 2:
        raise ApiError(ErrorCode.USER_NOT_FOUND)
    pair = {"a": from_uid, "b": to_uid}
    status = int(ContactStatus.NORMAL)
    if any(row.owner_id == from_uid and row.status == status for row in connection.execute(_BETWEEN, pair)):
        raise ApiError(ErrorCode.CONTACT_EXISTS)
    pending = [rows.request(row) for row in connection.execute(_PENDING_BETWEEN, pair)]
    if any(request.expired_at > now for request in pending):
        raise ApiError(ErrorCode.REQUEST_PENDING)
    _settle(connection, pending, RequestStatus.EXPIRED, now)
    row = {"request_uid": from_uid, "user_id": to_uid, "expired_at": expired_at, "created_at": now, "updated_at": now}
    request_id = inserted_id(connection, contact_requests, {**row, "status": int(RequestStatus.PENDING)})
    return ContactRequest(request_id, from_uid, to_uid, RequestStatus.PENDING, expired_at, now, now)


def _settle(connection: Connection, requests: Sequence[ContactRequest], status: RequestStatus, now: datetime) -> None:
    if requests:
        ids = [request.id for request in requests]
        connection.execute(_SET_STATUS, {"ids": ids, "new_status": int(status), "now": now})


def _pending(connection: Connection, request_id: int, me: int, now: datetime) -> ContactRequest | ApiError:
    """The request, pending and with both users locked, or what is wrong with it."""
    row = connection.execute(_REQUEST, {"id": request_id}).first()
    if row is None or row.user_id != me:
        return ApiError(ErrorCode.REQUEST_NOT_FOUND)
    connection.execute(_LOCK_USERS, {"ids": [row.request_uid, row.user_id]}).all()
    request = rows.request(connection.execute(_REQUEST, {"id": request_id}).one())
    if request.status is RequestStatus.EXPIRED:
        return ApiError(ErrorCode.REQUEST_EXPIRED)
    if request.status is not RequestStatus.PENDING:
        return ApiError(ErrorCode.REQUEST_HANDLED)
    if request.expired_at <= now:
        _settle(connection, [request], RequestStatus.EXPIRED, now)
        return ApiError(ErrorCode.REQUEST_EXPIRED)
    return request


def _reject(connection: Connection, request_id: int, me: int, now: datetime) -> ContactRequest | ApiError:
    request = _pending(connection, request_id, me, now)
    if isinstance(request, ApiError):
        return request
    _settle(connection, [request], RequestStatus.REJECTED, now)
    return replace(request, status=RequestStatus.REJECTED, updated_at=now)


def _accept(connection: Connection, request_id: int, me: int, now: datetime) -> list[Contact] | ApiError:
    request = _pending(connection, request_id, me, now)
    if isinstance(request, ApiError):
        return request
    pair = {"a": request.request_uid, "b": request.user_id}
    pending = [rows.request(row) for row in connection.execute(_PENDING_BETWEEN, pair)]
    _settle(connection, pending, RequestStatus.ACCEPTED, now)
    room_id = _befriend(connection, request.request_uid, request.user_id, now)
    return [rows.contact(row) for row in connection.execute(_OF_ROOM, {"room": room_id})]


def _befriend(connection: Connection, one: int, other: int, now: datetime) -> int:
    """Both contacts and their room, made as far as they aren't there. Gives the room's id."""
    times = {"created_at": now, "updated_at": now}
    existing = connection.execute(_BETWEEN, {"a": one, "b": other}).all()
    name = room_name(one, other)
    room_id = existing[0].room_id if existing else connection.execute(_ROOM_NAMED, {"room_name": name}).scalar()
    if room_id is None:
        room_id = inserted_id(connection, chat_rooms, {"name": name, **times})
    if existing:
        connection.execute(_RENEW, {"ids": [row.contact_id for row in existing], "room": room_id, "now": now})
    for owner, user in ((one, other), (other, one)):
        if all(row.owner_id != owner for row in existing):
            row = {"owner_id": owner, "user_id": user, "group_id": None, "room_id": room_id, **times}
            connection.execute(insert(contacts), {**row, "status": int(ContactStatus.NORMAL)})
    return int(room_id)


def room_name(one: int, other: int) -> str:
    """What the room of two users is called."""
    return f"u-{min(one, other)}-{max(one, other)}"
