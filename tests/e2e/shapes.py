"""The contract's objects, written down again from its text: exact names and types of every field."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support.api import Refused

Check = Callable[[Any], bool]


def is_id(value: Any) -> bool:
    return type(value) is int and 0 < value < 2**63


def is_id_or_0(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_bool(value: Any) -> bool:
    return type(value) is bool


def is_time(value: Any) -> bool:
    """RFC 3339 with an offset."""
    return (
        isinstance(value, str)
        and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", value) is not None
        and datetime.fromisoformat(value).utcoffset() is not None
    )


def is_time_or_null(value: Any) -> bool:
    return value is None or is_time(value)


def is_user_list(value: Any) -> bool:
    """A JSON array of user ids in a string, without doubles."""
    ids = json.loads(value) if isinstance(value, str) else None
    return isinstance(ids, list) and all(map(is_id, ids)) and len(set(ids)) == len(ids)


def is_one_of(*numbers: int) -> Check:
    return lambda value: type(value) is int and value in numbers


def is_null_or(shape: Mapping[str, Check]) -> Check:
    return lambda value: value is None or not faults(shape, value)


TIMES: Mapping[str, Check] = {"createdAt": is_time, "updatedAt": is_time}

USER = {
    "userId": is_id,
    "username": is_text,
    "nickname": is_text,
    "avatar": is_text,
    "enabled": is_bool,
    **TIMES,
}
CONTACT = {
    "contactId": is_id,
    "ownerId": is_id,
    "userId": is_id_or_0,
    "groupId": is_id_or_0,
    "roomId": is_id,
    "status": is_one_of(1),
    "lastMessageId": is_id_or_0,
    "lastMessageTime": is_time_or_null,
    "lastMessageContent": is_text,
    **TIMES,
}
CONTACT_REQUEST = {
    "id": is_id,
    "requestUid": is_id,
    "userId": is_id,
    "status": is_one_of(1, 2, 3, 4),
    "expiredAt": is_time,
    **TIMES,
}
FOUND_USER = {**USER, "isFriend": is_bool, "pendingRequest": is_null_or(CONTACT_REQUEST)}
GROUP = {
    "groupId": is_id,
    "ownerId": is_id,
    "roomId": is_id,
    "name": is_text,
    "avatar": is_text,
    **TIMES,
}
CALL = {
    "callId": is_id,
    "callerId": is_id,
    "messageId": is_id,
    "members": is_user_list,
    "status": is_one_of(1, 2, 3, 4),
    "startTime": is_time_or_null,
    "endTime": is_time_or_null,
    "endReason": is_one_of(0, 1, 2, 3, 4, 5, 6, 7),
    **TIMES,
}
MESSAGE = {
    "messageId": is_id,
    "roomId": is_id,
    "senderId": is_id,
    "type": is_one_of(1, 2, 3),
    "text": is_text,
    "image": is_text,
    "thumbnail": is_text,
    "callId": is_id_or_0,
    "revoked": is_bool,
    **TIMES,
    "call": is_null_or({**CALL, "handled": is_bool}),
    "localId": is_text,
    "deliveryId": is_id_or_0,
}
NOTIFIED_MESSAGE = {**MESSAGE, "isNew": is_bool, "deliveryId": is_id}


def faults(shape: Mapping[str, Check], value: Any) -> list[str]:
    """What is wrong with `value`: fields that are missing, too many or of another type."""
    if not isinstance(value, dict):
        return [f"{value!r} is no object"]
    found = [f"no {key}" for key in shape.keys() - value.keys()]
    found += [f"unknown {key}" for key in value.keys() - shape.keys()]
    found += [f"{key}: {value[key]!r}" for key, check in shape.items() if key in value and not check(value[key])]
    return found


def assert_shape(shape: Mapping[str, Check], *values: Any) -> None:
    for value in values:
        assert not faults(shape, value), value


def moment(text: str) -> datetime:
    assert is_time(text), text
    return datetime.fromisoformat(text)


def lies_between(text: str, start: datetime, end: datetime, slack: timedelta = timedelta(seconds=1)) -> bool:
    return start - slack <= moment(text) <= end + slack


@contextmanager
def refused(*codes: int) -> Iterator[None]:
    """The block must be refused by the server with one of these codes."""
    with pytest.raises(Refused) as caught:
        yield
    assert caught.value.code in codes, caught.value


def content(message: Mapping[str, Any]) -> dict[str, Any]:
    """What both the history and a notification tell of a message."""
    return {key: value for key, value in message.items() if key not in ("deliveryId", "isNew")}
