"""From rows to entities, and the column lists that the statements select for it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement

from server.model.entities import Call, Contact, ContactRequest, Group, Login, Message, User
from server.model.enums import CallStatus, ContactStatus, EndReason, MessageType, RequestStatus
from server.store.tables import calls, chat_groups, chat_messages, contact_requests, contacts, logins, users
from server.store.types import AnyRow

type_of = {value.value: value for value in MessageType}
"""Faster than `MessageType(number)`, and so many are read."""

USER: tuple[Column[Any], ...] = (
    users.c.user_id,
    users.c.username,
    users.c.nickname,
    users.c.avatar,
    users.c.enabled,
    users.c.created_at,
    users.c.updated_at,
)
LOGIN: tuple[Column[Any], ...] = tuple(logins.c)
REQUEST: tuple[Column[Any], ...] = tuple(contact_requests.c)
GROUP: tuple[Column[Any], ...] = (
    chat_groups.c.group_id,
    chat_groups.c.owner_id,
    chat_groups.c.room_id,
    chat_groups.c.name,
    chat_groups.c.avatar,
    chat_groups.c.created_at,
    chat_groups.c.updated_at,
)
CALL: tuple[Column[Any], ...] = (
    calls.c.call_id,
    calls.c.caller_id,
    calls.c.message_id,
    calls.c.room_id,
    calls.c.members,
    calls.c.status,
    calls.c.start_time,
    calls.c.end_time,
    calls.c.end_reason,
    calls.c.handled_by,
    calls.c.created_at,
    calls.c.updated_at,
)
_MESSAGE: tuple[Column[Any], ...] = (
    chat_messages.c.message_id,
    chat_messages.c.room_id,
    chat_messages.c.sender_id,
    chat_messages.c.type,
    chat_messages.c.text,
    chat_messages.c.image,
    chat_messages.c.thumbnail,
    chat_messages.c.call_id,
    chat_messages.c.revoked,
    chat_messages.c.local_id,
    chat_messages.c.created_at,
    chat_messages.c.updated_at,
)
MESSAGE: tuple[ColumnElement[Any], ...] = (*_MESSAGE, *(column.label(f"call_{column.name}") for column in CALL))
"""Of `chat_messages` with `calls` joined on."""
CONTACT: tuple[ColumnElement[Any], ...] = (
    contacts.c.contact_id,
    contacts.c.owner_id,
    contacts.c.user_id,
    contacts.c.group_id,
    contacts.c.room_id,
    contacts.c.status,
    contacts.c.created_at,
    contacts.c.updated_at,
    chat_messages.c.message_id,
    chat_messages.c.type,
    chat_messages.c.text,
    chat_messages.c.revoked,
    chat_messages.c.created_at.label("message_created_at"),
    chat_messages.c.updated_at.label("message_updated_at"),
)
"""Of `contacts` with the newest message of the room joined on."""


def user(row: AnyRow) -> User:
    return User(row[0], row[1], row[2], row[3], bool(row[4]), row[5], row[6])


def login(row: AnyRow) -> Login:
    return Login(*row)


def request(row: AnyRow) -> ContactRequest:
    return ContactRequest(row[0], row[1], row[2], RequestStatus(row[3]), row[4], row[5], row[6])


def group(row: AnyRow) -> Group:
    return Group(*row)


def call(row: Sequence[Any]) -> Call:
    return Call(
        call_id=row[0],
        caller_id=row[1],
        message_id=row[2],
        room_id=row[3],
        members=tuple(row[4]),
        status=CallStatus(row[5]),
        start_time=row[6],
        end_time=row[7],
        end_reason=EndReason(row[8]),
        handled_by=frozenset(row[9]),
        created_at=row[10],
        updated_at=row[11],
    )


def message(row: Sequence[Any]) -> Message:
    """From a row of `MESSAGE`."""
    joined = row[len(_MESSAGE) : len(MESSAGE)]
    return Message(
        message_id=row[0],
        room_id=row[1],
        sender_id=row[2],
        type=type_of[row[3]],
        text=row[4],
        image=row[5],
        thumbnail=row[6],
        call_id=row[7],
        revoked=bool(row[8]),
        local_id=row[9] or "",
        created_at=row[10],
        updated_at=row[11],
        call=None if joined[0] is None else call(joined),
    )


def contact(row: AnyRow) -> Contact:
    """From a row of `CONTACT`. A contact has changed last when its newest message has."""
    updated_at: datetime = row.updated_at
    if row.message_id is not None:
        updated_at = max(updated_at, row.message_updated_at)
    return Contact(
        contact_id=row.contact_id,
        owner_id=row.owner_id,
        user_id=row.user_id or 0,
        group_id=row.group_id or 0,
        room_id=row.room_id,
        status=ContactStatus(row.status),
        last_message_id=row.message_id or 0,
        last_message_time=row.message_created_at,
        last_message_content="" if row.message_id is None else summary(type_of[row.type], row.text, bool(row.revoked)),
        created_at=row.created_at,
        updated_at=updated_at,
    )


def summary(kind: MessageType, text: str, revoked: bool) -> str:
    """A message in a line of the contact list."""
    if revoked:
        return "[消息已撤回]"
    match kind:
        case MessageType.TEXT:
            return text if len(text) <= 20 else text[:20] + "..."
        case MessageType.IMAGE:
            return "[图片]"
        case MessageType.CALL:
            return "[通话]"
