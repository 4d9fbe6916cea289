"""Sends: many in one transaction. What is answered was committed, and each send stands or falls by itself."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, tuple_

from server.errors import ApiError, ErrorCode
from server.model.entities import Delivery, Message
from server.model.enums import ContactStatus, MessageType
from server.store import rows, sequence
from server.store.errors import StoreUnavailable
from server.store.files import change_references
from server.store.tables import calls, chat_messages, contacts


@dataclass(frozen=True, slots=True)
class SendRequest:
    """`local_id` names the send for its sender: sent again, it gives the first message. Empty: no such protection."""

    sender_id: int
    contact_id: int
    local_id: str
    type: MessageType
    text: str
    image: str
    thumbnail: str


@dataclass(frozen=True, slots=True)
class SendResult:
    """`created` is false where the message was there already; then nothing is delivered."""

    message: Message
    created: bool
    deliveries: list[Delivery]


Outcome = SendResult | ApiError | StoreUnavailable

_member = contacts.alias("member")
_MEMBERS = (
    select(
        contacts.c.contact_id,
        contacts.c.owner_id,
        contacts.c.room_id,
        contacts.c.status,
        _member.c.owner_id.label("member"),
    )
    .join(_member, _member.c.room_id == contacts.c.room_id)
    .where(
        contacts.c.contact_id.in_(bindparam("ids", expanding=True)),
        _member.c.status == int(ContactStatus.NORMAL),
    )
)
_SENT_BEFORE = (
    select(*rows.MESSAGE)
    .select_from(chat_messages.outerjoin(calls, calls.c.call_id == chat_messages.c.call_id))
    .where(tuple_(chat_messages.c.sender_id, chat_messages.c.local_id).in_(bindparam("keys", expanding=True)))
)
_HIGHEST_ID = select(func.coalesce(func.max(chat_messages.c.message_id), 0))
_INSERT = insert(chat_messages)


@dataclass(slots=True)
class _Room:
    owner_id: int
    room_id: int
    status: int
    members: list[int]


def send_all(connection: Connection, requests: Sequence[SendRequest], now: datetime, *, careful: bool) -> list[Outcome]:
    """Send each of `requests`, in order; an error of one is its outcome and doesn't touch the others.

    `careful` looks whether any was sent before. Without it, that shows as an IntegrityError.
    """
    rooms = _rooms(connection, {request.contact_id for request in requests})
    outcomes: dict[int, Outcome] = {}
    leaders: dict[tuple[int, str], int] = {}
    chosen: list[int] = []
    for index, request in enumerate(requests):
        room = rooms.get(request.contact_id)
        if (error := _error(request, room)) is not None:
            outcomes[index] = error
        elif not request.local_id or leaders.setdefault(key(request), index) == index:
            chosen.append(index)
    last_ids = sequence.lock(connection, {user_id for i in chosen for user_id in rooms[requests[i].contact_id].members})
    if careful:
        # The sender is a receiver too, so no other transaction sends for these senders from here on.
        before = _sent_before(connection, [requests[index] for index in chosen])
        outcomes |= {index: _again(before[k]) for index in chosen if (k := key(requests[index])) in before}
        chosen = [index for index in chosen if index not in outcomes]
    sent = _send(connection, [(requests[i], rooms[requests[i].contact_id]) for i in chosen], last_ids, now)
    outcomes.update(zip(chosen, sent, strict=True))
    for index, request in enumerate(requests):
        if index not in outcomes:
            leader = outcomes[leaders[key(request)]]
            outcomes[index] = _again(leader.message) if isinstance(leader, SendResult) else leader
    return [outcomes[index] for index in range(len(requests))]


def key(request: SendRequest) -> tuple[int, str]:
    """What makes two sends the same. MySQL compares texts without the spaces at their end."""
    return request.sender_id, request.local_id.rstrip(" ")


def _again(message: Message) -> SendResult:
    return SendResult(message, created=False, deliveries=[])


def _rooms(connection: Connection, contact_ids: Iterable[int]) -> dict[int, _Room]:
    """The rooms behind these contacts, with their members in order, by contact."""
    rooms: dict[int, _Room] = {}
    for contact_id, owner_id, room_id, status, member in connection.execute(_MEMBERS, {"ids": sorted(contact_ids)}):
        room = rooms.get(contact_id)
        if room is None:
            rooms[contact_id] = _Room(owner_id, room_id, status, [member])
        elif member not in room.members:
            room.members.append(member)
    return rooms


def _error(request: SendRequest, room: _Room | None) -> ApiError | None:
    if room is None:
        return ApiError(ErrorCode.CONTACT_NOT_FOUND)
    if room.owner_id != request.sender_id:
        return ApiError(ErrorCode.FORBIDDEN)
    if room.status != ContactStatus.NORMAL:
        return ApiError(ErrorCode.CONTACT_NOT_FOUND)
    return None


def _sent_before(connection: Connection, requests: Iterable[SendRequest]) -> dict[tuple[int, str], Message]:
    keys = [key(request) for request in requests if request.local_id]
    if not keys:
        return {}
    messages = (rows.message(row) for row in connection.execute(_SENT_BEFORE, {"keys": keys}))
    return {(message.sender_id, message.local_id): message for message in messages}


def _send(
    connection: Connection, sends: Sequence[tuple[SendRequest, _Room]], last_ids: dict[int, int], now: datetime
) -> list[SendResult]:
    """Insert the messages and their deliveries; `last_ids` are the receivers' counters, which are locked."""
    if not sends:
        return []
    counts = Counter(member for _, room in sends for member in room.members)
    sequence.advance(connection, counts)
    results: list[SendResult] = []
    next_ids = dict(last_ids)
    for (request, room), message_id in zip(sends, _insert(connection, sends, now), strict=True):
        message = sent_message(request, message_id, room.room_id, now)
        deliveries: list[Delivery] = []
        for member in room.members:
            next_ids[member] += 1
            deliveries.append(Delivery(member, next_ids[member], True, message))
        results.append(SendResult(message, created=True, deliveries=deliveries))
    sequence.record(
        connection,
        ((one.receiver_id, one.delivery_id, one.message.message_id) for result in results for one in result.deliveries),
        True,
        now,
    )
    urls = [url for request, _ in sends for url in (request.image, request.thumbnail) if url]
    if urls:
        change_references(connection, now, stored=urls, dropped=[])
    return results


def _insert(connection: Connection, sends: Sequence[tuple[SendRequest, _Room]], now: datetime) -> list[int]:
    """Insert the messages as one statement; gives their ids."""
    values: list[dict[str, Any]] = [
        {
            "room_id": room.room_id,
            "sender_id": request.sender_id,
            "type": request.type,
            "text": request.text,
            "image": request.image,
            "thumbnail": request.thumbnail,
            "call_id": 0,
            "revoked": False,
            "local_id": key(request)[1] or None,
            "created_at": now,
            "updated_at": now,
        }
        for request, room in sends
    ]
    if connection.dialect.name == "sqlite":
        # The write lock is held: nobody else takes the ids above the highest.
        first: int = connection.execute(_HIGHEST_ID).scalar_one() + 1
        for offset, row in enumerate(values):
            row["message_id"] = first + offset
        connection.execute(_INSERT, values)
        return list(range(first, first + len(values)))
    # One INSERT of several rows takes consecutive ids (InnoDB, whatever its auto-increment lock mode, with steps of 1)
    # and says the first. The driver makes one of it as long as it is below its limit: see `writer.BATCH_CHARACTERS`.
    first = connection.execute(_INSERT, values).lastrowid
    return list(range(first, first + len(values)))


def sent_message(request: SendRequest, message_id: int, room_id: int, now: datetime) -> Message:
    """The message as it was just inserted."""
    return Message(
        message_id=message_id,
        room_id=room_id,
        sender_id=request.sender_id,
        type=request.type,
        text=request.text,
        image=request.image,
        thumbnail=request.thumbnail,
        call_id=0,
        revoked=False,
        local_id=request.local_id,
        created_at=now,
        updated_at=now,
    )
