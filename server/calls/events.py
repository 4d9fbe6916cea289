"""What can happen to a call, and what follows from it."""

from dataclasses import dataclass
from enum import StrEnum

from server.errors import ErrorCode
from server.model.enums import CallStatus


@dataclass(frozen=True, slots=True)
class Reserved:
    """The manager is up and has reserved `users`: the others are in another call."""

    users: frozenset[int]


@dataclass(frozen=True, slots=True)
class Join:
    """`POST /call/join`. `elsewhere`: the user is in another call."""

    user_id: int
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class HangUp:
    """`POST /call/hangup`."""

    user_id: int


@dataclass(frozen=True, slots=True)
class SocketUp:
    """The user's call socket came up. `socket` numbers it: a later one of the same user has a higher number."""

    user_id: int
    socket: int
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class SocketLost:
    """The user's call socket went away."""

    user_id: int
    socket: int


@dataclass(frozen=True, slots=True)
class Silent:
    """The user's call socket is open, but no heartbeat came for too long."""

    user_id: int
    socket: int


@dataclass(frozen=True, slots=True)
class MediaSeen:
    """The user says that picture or sound of `sender_id` arrives now."""

    user_id: int
    sender_id: int


@dataclass(frozen=True, slots=True)
class Tick:
    """A deadline may have passed."""


@dataclass(frozen=True, slots=True)
class TakenOver:
    """Another process goes on with the call: for a while nobody could come back to it."""


Event = Reserved | Join | HangUp | SocketUp | SocketLost | Silent | MediaSeen | Tick | TakenOver


class Happening(StrEnum):
    """The kinds of entries in a call's timeline."""

    RINGING = "ringing"
    BUSY = "busy"
    READY = "ready"
    JOINED = "joined"
    ONLINE = "online"
    OFFLINE = "offline"
    HUNG_UP = "hung-up"
    REJECTED = "rejected"
    NO_ANSWER = "no-answer"
    LOST = "lost"
    ACTIVE = "active"
    MEDIA = "media"
    TAKEN_OVER = "taken-over"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """Every member is told by a change of the call's message."""

    status: CallStatus


@dataclass(frozen=True, slots=True)
class Handled:
    """The user has joined or hung up for the first time: the other devices stop ringing."""

    user_id: int


@dataclass(frozen=True, slots=True)
class Noted:
    """An entry for the call's timeline. `user_id` is 0 where it's of the call as a whole."""

    what: Happening
    user_id: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to who asked for a join or a hang-up; `refusal` None: it is done."""

    refusal: ErrorCode | None = None


Effect = StatusChanged | Handled | Noted | Answered
