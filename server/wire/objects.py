"""The contract's objects as they go out: User, Contact, ContactRequest, Group, Message, Call."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel

from server.model import entities
from server.model.enums import CallStatus, ContactStatus, EndReason, MessageType, RequestStatus


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds: `2026-11-23T08:15:30.123Z`."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


WireTime = Annotated[
    datetime,
    PlainSerializer(format_time, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class WireObject(BaseModel):
    """Goes out in camelCase."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        from_attributes=True,
        frozen=True,
        serialize_by_alias=True,
    )


class User(WireObject):
    user_id: int
    username: str
    nickname: str
    avatar: str
    enabled: bool
    created_at: WireTime
    updated_at: WireTime


class Contact(WireObject):
    contact_id: int
    owner_id: int
    user_id: int
    group_id: int
    room_id: int
    status: ContactStatus
    last_message_id: int
    last_message_time: WireTime | None
    last_message_content: str
    created_at: WireTime
    updated_at: WireTime


class ContactRequest(WireObject):
    id: int
    request_uid: int
    user_id: int
    status: RequestStatus
    expired_at: WireTime
    created_at: WireTime
    updated_at: WireTime


class FoundUser(User):
    """A user in the answer of a search."""

    is_friend: bool
    pending_request: ContactRequest | None

    @classmethod
    def of(cls, user: entities.User, is_friend: bool, request: entities.ContactRequest | None) -> Self:
        pending = None if request is None else ContactRequest.model_validate(request)
        fields = User.model_validate(user).model_dump(by_alias=False)
        return cls(**fields, is_friend=is_friend, pending_request=pending)


class NewLogin(WireObject):
    user_id: int
    token: str


class Login(WireObject):
    """One of one's logins; `current`: the one that asks."""

    login_id: int
    device: str
    address: str
    created_at: WireTime
    last_used_at: WireTime
    expires_at: WireTime
    current: bool

    @classmethod
    def of(cls, login: entities.Login, *, current: bool) -> Self:
        return cls(
            login_id=login.login_id,
            device=login.device,
            address=login.address,
            created_at=login.created_at,
            last_used_at=login.last_used_at,
            expires_at=login.expires_at,
            current=current,
        )


class Settings(WireObject):
    wallpaper: str


class Group(WireObject):
    group_id: int
    owner_id: int
    room_id: int
    name: str
    avatar: str
    created_at: WireTime
    updated_at: WireTime


class Call(WireObject):
    call_id: int
    caller_id: int
    message_id: int
    members: str
    """A JSON array of user ids, the caller first, encoded as a string."""
    status: CallStatus
    start_time: WireTime | None
    end_time: WireTime | None
    end_reason: EndReason
    created_at: WireTime
    updated_at: WireTime

    @classmethod
    def of(cls, call: entities.Call) -> Self:
        return cls(**_call_fields(call))


class MessageCall(Call):
    """The call of a message, as one user sees it."""

    handled: bool

    @classmethod
    def seen_by(cls, call: entities.Call, viewer: int) -> Self:
        return cls(**_call_fields(call), handled=viewer in call.handled_by)


class PastCall(MessageCall):
    """A call in one's history, which may go on still. `duration`: seconds since it was active, 0 if it never was."""

    direction: Literal["outgoing", "incoming"]
    duration: int

    @classmethod
    def of_member(cls, call: entities.Call, viewer: int, now: datetime) -> Self:
        duration = 0 if call.start_time is None else int(((call.end_time or now) - call.start_time).total_seconds())
        return cls(
            **_call_fields(call),
            handled=viewer in call.handled_by,
            direction="outgoing" if viewer == call.caller_id else "incoming",
            duration=max(0, duration),
        )


class CallEvent(WireObject):
    """What happened in a call. `user_id` is 0 where it's of the call as a whole."""

    at: WireTime
    user_id: int
    event: str
    detail: str


class IceServer(WireObject):
    """As in a browser's `RTCConfiguration` (W3C WebRTC, section 4.2.2). No credential: a STUN server."""

    urls: list[str]
    username: str = ""
    credential: str = ""


class IceServers(WireObject):
    """`ttl`: seconds for which the credentials are good."""

    ice_servers: list[IceServer]
    ttl: int


def _call_fields(call: entities.Call) -> dict[str, Any]:
    return {
        "call_id": call.call_id,
        "caller_id": call.caller_id,
        "message_id": call.message_id,
        "members": json.dumps(call.members, separators=(",", ":")),
        "status": call.status,
        "start_time": call.start_time,
        "end_time": call.end_time,
        "end_reason": call.end_reason,
        "created_at": call.created_at,
        "updated_at": call.updated_at,
    }


class Message(WireObject):
    """A message as one user sees it: `local_id` only its sender's, `delivery_id` 0 where it isn't a delivery."""

    message_id: int
    room_id: int
    sender_id: int
    type: MessageType
    text: str
    image: str
    thumbnail: str
    call_id: int
    revoked: bool
    created_at: WireTime
    updated_at: WireTime
    call: MessageCall | None
    local_id: str
    delivery_id: int

    @classmethod
    def seen_by(cls, message: entities.Message, viewer: int, delivery_id: int = 0) -> Self:
        return cls(**_message_fields(message, viewer, delivery_id))


class NotifiedMessage(Message):
    """A message as the payload of a notification."""

    is_new: bool

    @classmethod
    def of(cls, delivery: entities.Delivery) -> Self:
        fields = _message_fields(delivery.message, delivery.receiver_id, delivery.delivery_id)
        return cls(**fields, is_new=delivery.is_new)


def _message_fields(message: entities.Message, viewer: int, delivery_id: int) -> dict[str, Any]:
    return {
        "message_id": message.message_id,
        "room_id": message.room_id,
        "sender_id": message.sender_id,
        "type": message.type,
        "text": message.text,
        "image": message.image,
        "thumbnail": message.thumbnail,
        "call_id": message.call_id,
        "revoked": message.revoked,
        "created_at": message.created_at,
        "updated_at": message.updated_at,
        "call": MessageCall.seen_by(message.call, viewer) if message.call else None,
        "local_id": message.local_id if viewer == message.sender_id else "",
        "delivery_id": delivery_id,
    }
