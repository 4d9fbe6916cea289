"""The notification socket's frames, and how they wait in a mailbox."""

import json
from dataclasses import replace

import pytest

from server.model.entities import Delivery
from server.wire import notification as wire
from tests.e2e import shapes
from tests.wire.test_objects import CALL, FRIEND, REQUEST, TEXT


@pytest.mark.parametrize(
    ("frame", "kind", "shape"),
    [
        (wire.message_frame(Delivery(2, 5, True, TEXT)), 1, shapes.NOTIFIED_MESSAGE),
        (wire.message_frame(Delivery(2, 5, True, replace(TEXT, call=CALL))), 1, shapes.NOTIFIED_MESSAGE),
        (wire.contact_frame(FRIEND), 2, shapes.CONTACT),
        (wire.contact_request_frame(REQUEST), 3, shapes.CONTACT_REQUEST),
    ],
)
def test_a_frame_is_its_type_and_its_object(frame: str, kind: int, shape: dict[str, shapes.Check]) -> None:
    told = json.loads(frame)
    assert list(told) == ["type", "payload"]
    assert told["type"] == kind
    assert shapes.faults(shape, told["payload"]) == []


def test_that_a_call_is_handled_is_told_by_its_id() -> None:
    assert wire.call_handled_frame(2**63 - 1) == '{"type":4,"payload":9223372036854775807}'


def test_the_first_frames() -> None:
    assert wire.session_resumed("an-id") == "session:an-id"
    assert wire.session_opened("an-id", 0) == "session:an-id\n0"
    assert wire.session_opened("an-id", 2**63 - 1) == "session:an-id\n9223372036854775807"


@pytest.mark.parametrize(
    "queued",
    [
        wire.Queued(0, 0, ""),
        wire.Queued(2**63 - 1, 1_800_000_000_123, '{"type":1,"payload":{"text":"a b  c\\n 😀"}}'),
    ],
)
def test_what_waits_in_a_mailbox_comes_out_as_it_went_in(queued: wire.Queued) -> None:
    assert wire.Queued.decode(queued.encode()) == queued
