"""The call socket's frames: `{"type":T,"payload":"<string>"}` in both directions; structured payloads are JSON
inside that string."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from server.model.enums import EndReason, UserState


class CallFrameType(IntEnum):
    UNAUTHORIZED = 1
    ALL_USER_STATES = 2
    ONE_USER_STATE = 3
    SIGNALING = 4
    HEARTBEAT = 5
    STARTED = 6
    ENDED = 7
    ERROR = 8
    MEDIA_SEEN = 9
    """To the server, and optional: the payload is the id of a user whose picture or sound arrives now."""


PING_UNKNOWN = -2


class BadFrame(ValueError):
    """A client's frame that isn't of this page. `rule`, in Chinese and in English, is what it breaks."""

    def __init__(self, chinese: str, english: str) -> None:
        super().__init__(english)
        self.rule = (chinese, english)


@dataclass(frozen=True, slots=True)
class Signaling:
    """`message` is opaque; it is for `to_user_id`."""

    to_user_id: int
    message: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    pass


@dataclass(frozen=True, slots=True)
class MediaSeen:
    user_id: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """Of a type that this server doesn't know: ignored, so that clients may know more than servers."""

    type: int


ClientFrame = Signaling | Heartbeat | MediaSeen | Unknown


class MemberState(NamedTuple):
    user_id: int
    state: UserState


def parse(text: str) -> ClientFrame:
    """Raises BadFrame."""
    frame = _object(text)
    kind, payload = frame.get("type"), frame.get("payload", "")
    if type(kind) is not int or not isinstance(payload, str):
        raise BadFrame("type 应为数字，payload 应为字符串", "type is a number and payload a string")
    match kind:
        case CallFrameType.HEARTBEAT:
            return Heartbeat()
        case CallFrameType.SIGNALING:
            content = _object(payload)
            to_user_id, message = content.get("toUserId"), content.get("message")
            if type(to_user_id) is not int or not isinstance(message, str):
                raise BadFrame("toUserId 应为数字，message 应为字符串", "toUserId is a number and message a string")
            return Signaling(to_user_id, message)
        case CallFrameType.MEDIA_SEEN:
            if not (payload.isascii() and payload.isdigit() and len(payload) < 20):
                raise BadFrame("payload 应为用户 id", "the payload is a user id")
            return MediaSeen(int(payload))
        case _:
            return Unknown(kind)


def _object(text: str) -> dict[str, object]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadFrame("不是 JSON", "not JSON") from error
    if not isinstance(value, dict):
        raise BadFrame("不是 JSON 对象", "not a JSON object")
    return value


def unauthorized_frame() -> str:
    return _frame(CallFrameType.UNAUTHORIZED, "")


def all_states_frame(members: Iterable[MemberState]) -> str:
    return _frame(CallFrameType.ALL_USER_STATES, _compact([_state(member) for member in members]))


def one_state_frame(member: MemberState) -> str:
    return _frame(CallFrameType.ONE_USER_STATE, _compact(_state(member)))


def signaling_frame(from_user_id: int, message: str) -> str:
    return _frame(CallFrameType.SIGNALING, _compact({"fromUserId": from_user_id, "message": message}))


def started_frame() -> str:
    return _frame(CallFrameType.STARTED, "")


def ended_frame(reason: EndReason) -> str:
    return _frame(CallFrameType.ENDED, str(int(reason)))


def error_frame(text: str) -> str:
    return _frame(CallFrameType.ERROR, text)


def _state(member: MemberState) -> dict[str, int]:
    return {"userId": member.user_id, "state": int(member.state), "ping": PING_UNKNOWN}


def _frame(kind: CallFrameType, payload: str) -> str:
    return f'{{"type":{kind},"payload":{json.dumps(payload)}}}'


def _compact(value: object) -> str:
    """ASCII: so a lone surrogate in a client's text is passed on as it came."""
    return json.dumps(value, separators=(",", ":"))
