"""The contract's objects, byte for byte as they go out."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from server.model import entities
from server.model.enums import CallStatus, ContactStatus, EndReason, MessageType, RequestStatus
from server.wire import objects
from tests.e2e import shapes

MADE = datetime(2026, 11, 23, 8, 15, 30, 123_000, UTC)
CHANGED = MADE + timedelta(hours=1)
TIMES = '"createdAt":"2026-11-23T08:15:30.123Z","updatedAt":"2026-11-23T09:15:30.123Z"'
BIG = 2**63 - 1

USER = entities.User(BIG, "ann", "安娜 😀", "", True, MADE, CHANGED)
REQUEST = entities.ContactRequest(5, 1, 2, RequestStatus.PENDING, CHANGED, MADE, CHANGED)
FRIEND = entities.Contact(7, 1, 2, 0, 9, ContactStatus.NORMAL, 0, None, "", MADE, CHANGED)
GROUP = entities.Group(3, 1, 9, "旅行", "file/g.png", MADE, CHANGED)
CALL = entities.Call(
    call_id=4,
    caller_id=2,
    message_id=11,
    room_id=9,
    members=(2, 1, BIG),
    status=CallStatus.ACTIVE,
    start_time=MADE,
    end_time=None,
    end_reason=EndReason.NONE,
    handled_by=frozenset({2}),
    created_at=MADE,
    updated_at=CHANGED,
)
TEXT = entities.Message(11, 9, 1, MessageType.TEXT, 'a "b"\n\u2028', "", "", 0, False, "local", MADE, CHANGED)


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (MADE, "2026-11-23T08:15:30.123Z"),
        (MADE.replace(microsecond=0), "2026-11-23T08:15:30.000Z"),
        (MADE.replace(microsecond=999), "2026-11-23T08:15:30.000Z"),
        (datetime(1970, 1, 1, tzinfo=UTC), "1970-01-01T00:00:00.000Z"),
        (MADE.astimezone(timezone(timedelta(hours=8))), "2026-11-23T08:15:30.123Z"),
    ],
)
def test_times_have_an_offset_and_milliseconds(moment: datetime, written: str) -> None:
    assert objects.format_time(moment) == written
    assert shapes.is_time(written)


@pytest.mark.parametrize(
    ("found", "written"),
    [
        (
            objects.User.model_validate(USER),
            f'{{"userId":{BIG},"username":"ann","nickname":"安娜 😀","avatar":"","enabled":true,{TIMES}}}',
        ),
        (
            objects.ContactRequest.model_validate(REQUEST),
            f'{{"id":5,"requestUid":1,"userId":2,"status":1,"expiredAt":"2026-11-23T09:15:30.123Z",{TIMES}}}',
        ),
        (
            objects.Contact.model_validate(FRIEND),
            '{"contactId":7,"ownerId":1,"userId":2,"groupId":0,"roomId":9,"status":1,"lastMessageId":0,'
            f'"lastMessageTime":null,"lastMessageContent":"",{TIMES}}}',
        ),
        (
            objects.Contact.model_validate(
                replace(FRIEND, user_id=0, group_id=3, last_message_id=11, last_message_time=MADE)
            ),
            '{"contactId":7,"ownerId":1,"userId":0,"groupId":3,"roomId":9,"status":1,"lastMessageId":11,'
            f'"lastMessageTime":"2026-11-23T08:15:30.123Z","lastMessageContent":"",{TIMES}}}',
        ),
        (
            objects.Group.model_validate(GROUP),
            f'{{"groupId":3,"ownerId":1,"roomId":9,"name":"旅行","avatar":"file/g.png",{TIMES}}}',
        ),
        (
            objects.Call.of(CALL),
            f'{{"callId":4,"callerId":2,"messageId":11,"members":"[2,1,{BIG}]","status":3,'
            f'"startTime":"2026-11-23T08:15:30.123Z","endTime":null,"endReason":0,{TIMES}}}',
        ),
        (
            objects.Message.seen_by(TEXT, viewer=1),
            '{"messageId":11,"roomId":9,"senderId":1,"type":1,"text":"a \\"b\\"\\n\u2028","image":"","thumbnail":"",'
            f'"callId":0,"revoked":false,{TIMES},"call":null,"localId":"local","deliveryId":0}}',
        ),
        (objects.NewLogin(user_id=1, token="t"), '{"userId":1,"token":"t"}'),
        (objects.Settings(wallpaper=""), '{"wallpaper":""}'),
    ],
)
def test_an_object_as_it_goes_out(found: objects.WireObject, written: str) -> None:
    assert found.model_dump_json() == written


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        (shapes.USER, objects.User.model_validate(USER)),
        (shapes.CONTACT, objects.Contact.model_validate(FRIEND)),
        (shapes.CONTACT_REQUEST, objects.ContactRequest.model_validate(REQUEST)),
        (shapes.FOUND_USER, objects.FoundUser.of(USER, True, None)),
        (shapes.FOUND_USER, objects.FoundUser.of(USER, False, REQUEST)),
        (shapes.GROUP, objects.Group.model_validate(GROUP)),
        (shapes.CALL, objects.Call.of(CALL)),
        (shapes.MESSAGE, objects.Message.seen_by(replace(TEXT, type=MessageType.CALL, call_id=4, call=CALL), 1)),
        (shapes.NOTIFIED_MESSAGE, objects.NotifiedMessage.of(entities.Delivery(1, 8, True, TEXT))),
    ],
)
def test_an_object_has_exactly_the_contracts_fields(shape: dict[str, Any], found: objects.WireObject) -> None:
    assert shapes.faults(shape, json.loads(found.model_dump_json())) == []


def test_a_local_id_is_shown_to_the_sender_only() -> None:
    assert [objects.Message.seen_by(TEXT, viewer).local_id for viewer in (1, 2)] == ["local", ""]
    told = [objects.NotifiedMessage.of(entities.Delivery(viewer, 8, False, TEXT)) for viewer in (1, 2)]
    assert [(one.local_id, one.delivery_id, one.is_new) for one in told] == [("local", 8, False), ("", 8, False)]


def test_a_call_is_handled_for_those_who_have_joined_or_hung_up() -> None:
    message = replace(TEXT, type=MessageType.CALL, call_id=4, call=CALL)
    handled = [shown.handled for viewer in (1, 2) if (shown := objects.Message.seen_by(message, viewer).call)]
    assert handled == [False, True]
