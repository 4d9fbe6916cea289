"""Sends: many in one transaction. What is answered was committed, and each send stands or falls by itself."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, select, tuple_

from server.errors import ApiError, ErrorCode
from server.model.entities import Delivery, Message
from server.model.enums import ContactStatus, MessageType
from server.store import rows, sending_sql, sequence
from server.store.errors import StoreUnavailable
from server.store.files import change_references
from server.store.sending_sql import NewMessage, Room
from server.store.tables import calls, chat_messages


@dataclass(frozen=True, slots=True)
class SendRequest:
    """`local_id` names the send for its sender in that room: sent again, it gives the first message. Empty: no such
    protection."""

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

_SENT_BEFORE = (
    select(*rows.MESSAGE)
    .select_from(chat_messages.outerjoin(calls, calls.c.call_id == chat_messages.c.call_id))
    .where(
        tuple_(chat_messages.c.sender_id, chat_messages.c.room_id, chat_messages.c.local_id).in_(
            bindparam("keys", expanding=True)
        )
    )
)

_Key = tuple[int, int, str]
"""What makes two sends the same: sender, room, local id."""


def send_all(connection: Connection, requests: Sequence[SendRequest], now: datetime, *, careful: bool) -> list[Outcome]:
    """Send each of `requests`, in order; an error of one is its outcome and doesn't touch the others.

    `careful` looks whether any was sent before. Without it, that shows as an IntegrityError.
    """
    rooms = sending_sql.rooms(connection, {request.contact_id for request in requests})
    outcomes: dict[int, Outcome] = {}
    leaders: dict[_Key, int] = {}
    chosen: list[int] = []

    def key(index: int) -> _Key:
        request = requests[index]
        return request.sender_id, rooms[request.contact_id].room_id, kept_local_id(request)

    for index, request in enumerate(requests):
        if (error := _error(request, rooms.get(request.contact_id))) is not None:
            outcomes[index] = error
        elif not kept_local_id(request) or leaders.setdefault(key(index), index) == index:
            chosen.append(index)
    if careful:
        before = _sent_before(connection, [key(index) for index in chosen if kept_local_id(requests[index])])
        outcomes |= {index: _again(before[k]) for index in chosen if (k := key(index)) in before}
        chosen = [index for index in chosen if index not in outcomes]
    if chosen:
        sent = _send(connection, [(requests[i], rooms[requests[i].contact_id]) for i in chosen], now)
        outcomes.update(zip(chosen, sent, strict=True))
    for index in range(len(requests)):
        if index not in outcomes:
            leader = outcomes[leaders[key(index)]]
            outcomes[index] = _again(leader.message) if isinstance(leader, SendResult) else leader
    return [outcomes[index] for index in range(len(requests))]


def kept_local_id(request: SendRequest) -> str:
    """As it is kept: MySQL compares texts without the spaces at their end."""
    return request.local_id.rstrip(" ")


def _again(message: Message) -> SendResult:
    return SendResult(message, created=False, deliveries=[])


def _error(request: SendRequest, room: Room | None) -> ApiError | None:
    if room is None:
        return ApiError(ErrorCode.CONTACT_NOT_FOUND)
    if room.owner_id != request.sender_id:
        return ApiError(ErrorCode.FORBIDDEN)
    if room.status != ContactStatus.NORMAL:
        return ApiError(ErrorCode.CONTACT_NOT_FOUND)
    return None


def _sent_before(connection: Connection, keys: Sequence[_Key]) -> dict[_Key, Message]:
    if not keys:
        return {}
    # A sender is a receiver too: with their counters locked, no other transaction sends for them from here on.
    sequence.lock(connection, {sender_id for sender_id, _, _ in keys})
    messages = (rows.message(row) for row in connection.execute(_SENT_BEFORE, {"keys": keys}))
    return {(message.sender_id, message.room_id, message.local_id): message for message in messages}


def _send(connection: Connection, sends: Sequence[tuple[SendRequest, Room]], now: datetime) -> list[SendResult]:
    """Insert the messages and their deliveries."""
    last_ids = sending_sql.advance(connection, Counter(member for _, room in sends for member in room.members))
    ids = sending_sql.insert_messages(connection, [_row(request, room) for request, room in sends], now)
    results: list[SendResult] = []
    for (request, room), message_id in zip(sends, ids, strict=True):
        message = sent_message(request, message_id, room.room_id, now)
        deliveries: list[Delivery] = []
        for member in room.members:
            last_ids[member] += 1
            deliveries.append(Delivery(member, last_ids[member], True, message))
        results.append(SendResult(message, created=True, deliveries=deliveries))
    sending_sql.insert_deliveries(
        connection,
        ((one.receiver_id, one.delivery_id, one.message.message_id) for result in results for one in result.deliveries),
        now,
    )
    urls = [url for request, _ in sends for url in (request.image, request.thumbnail) if url]
    if urls:
        change_references(connection, now, stored=urls, dropped=[])
    return results


def _row(request: SendRequest, room: Room) -> NewMessage:
    return NewMessage(
        room_id=room.room_id,
        sender_id=request.sender_id,
        type=request.type,
        text=request.text,
        image=request.image,
        thumbnail=request.thumbnail,
        local_id=kept_local_id(request) or None,
    )


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
        local_id=kept_local_id(request),
        created_at=now,
        updated_at=now,
    )
