"""The enumerations of the domain. Their numbers are those of the wire and of the database."""

from enum import IntEnum


class RequestStatus(IntEnum):
    """Of a contact request."""

    PENDING = 1
    ACCEPTED = 2
    REJECTED = 3
    EXPIRED = 4


class ContactStatus(IntEnum):
    NORMAL = 1


class MessageType(IntEnum):
    TEXT = 1
    IMAGE = 2
    CALL = 3


class CallStatus(IntEnum):
    NEW = 1
    READY = 2
    ACTIVE = 3
    END = 4


class EndReason(IntEnum):
    NONE = 0
    NORMAL = 1
    REJECTED = 2
    NO_ANSWER = 3
    BUSY = 4
    LOST = 5
    ERROR = 6
    CANCELLED = 7


class UserState(IntEnum):
    """Of a user within a call."""

    INVITED = 1
    REJECTED = 2
    ACCEPTED = 3
    ONLINE = 4
    OFFLINE = 5
    DEAD = 6
