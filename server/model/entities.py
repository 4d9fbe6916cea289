"""The entities. Ids are positive 64-bit integers, 0 where there is none; times are UTC with milliseconds."""

from dataclasses import dataclass
from datetime import datetime

from server.model.enums import CallStatus, ContactStatus, EndReason, MessageType, RequestStatus


@dataclass(frozen=True, slots=True)
class User:
    user_id: int
    username: str
    nickname: str
    avatar: str
    enabled: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Login:
    """One login of a user: what a login token stands for."""

    login_id: int
    user_id: int
    device: str
    address: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Contact:
    """A line of `owner_id`'s contact list: another user or a group, whichever id isn't 0."""

    contact_id: int
    owner_id: int
    user_id: int
    group_id: int
    room_id: int
    status: ContactStatus
    last_message_id: int
    last_message_time: datetime | None
    last_message_content: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ContactRequest:
    """`request_uid` asks `user_id` to become contacts."""

    id: int
    request_uid: int
    user_id: int
    status: RequestStatus
    expired_at: datetime
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Group:
    group_id: int
    owner_id: int
    room_id: int
    name: str
    avatar: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Call:
    """`members` holds user ids, the caller first."""

    call_id: int
    caller_id: int
    message_id: int
    room_id: int
    members: tuple[int, ...]
    status: CallStatus
    start_time: datetime | None
    end_time: datetime | None
    end_reason: EndReason
    handled_by: frozenset[int]
    """Those who have joined or hung up, so that their other devices needn't ring."""
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Message:
    """`call` is filled in for a message of type CALL only."""

    message_id: int
    room_id: int
    sender_id: int
    type: MessageType
    text: str
    image: str
    thumbnail: str
    call_id: int
    revoked: bool
    local_id: str
    created_at: datetime
    updated_at: datetime
    call: Call | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """What `receiver_id` is told of a message; `delivery_id` counts 1, 2, 3, … for each receiver."""

    receiver_id: int
    delivery_id: int
    is_new: bool
    message: Message
