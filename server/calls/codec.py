"""How states and events are written on the bus and in the database: compact JSON."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from server.calls import events
from server.calls.events import Event, Happening
from server.calls.state import CallState, Member
from server.errors import ErrorCode
from server.model.enums import CallStatus, EndReason, UserState


class TimelineEntry(NamedTuple):
    """What happened in a call, `at` milliseconds since 1970. `user_id` is 0 where it's of the call as a whole."""

    at: int
    user_id: int
    what: Happening
    detail: str


class Asked(NamedTuple):
    """Who waits for the answer to an event: a process, the number of the question there, and until when
    (milliseconds since 1970)."""

    process_id: str
    number: int
    until: int


class Said(NamedTuple):
    """What comes to a manager."""

    event: Event
    asked: Asked | None = None


@dataclass(frozen=True, slots=True)
class Owed:
    """Effects of the last changes that may not have been carried out: who goes on with the call does it (again)."""

    status: bool = False
    """The members are told of the call's message."""
    handled: tuple[int, ...] = ()
    """Users whose devices stop ringing."""
    answers: tuple[tuple[Asked, ErrorCode | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """All that a process needs to go on with a call from here.

    `fence` is that of the owner who wrote it. `seq` is the last entry of the inbox that is in here; `unsaved` are the
    entries of the timeline that aren't in the database yet, and `noted` counts all that there ever were.
    """

    fence: int
    call: CallState
    owed: Owed = Owed()
    seq: int = 0
    unsaved: tuple[TimelineEntry, ...] = ()
    noted: int = 0

    @property
    def order(self) -> tuple[int, int]:
        """Of two records of a call, the greater is the later."""
        return self.fence, self.call.version


_EVENTS: Mapping[str, type[Event]] = {
    "join": events.Join,
    "hang-up": events.HangUp,
    "up": events.SocketUp,
    "lost": events.SocketLost,
    "silent": events.Silent,
    "media": events.MediaSeen,
    "tick": events.Tick,
}
"""Those that travel; the manager makes the others itself."""
_EVENT_NAMES = {kind: name for name, kind in _EVENTS.items()}


class Unreadable(ValueError):
    """What another version of this program wrote, or what is damaged."""


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error


def encode_said(said: Said) -> bytes:
    event = said.event
    values = [getattr(event, field.name) for field in fields(event)]
    return _dump([_EVENT_NAMES[type(event)], values, said.asked])


def decode_said(data: bytes) -> Said:
    """Raises Unreadable."""
    with _readable():
        name, values, asked = json.loads(data)
        return Said(_EVENTS[name](*values), None if asked is None else Asked(*asked))


def encode_answer(number: int, refusal: ErrorCode | None) -> bytes:
    return _dump([number, _name(refusal)])


def decode_answer(data: bytes) -> tuple[int, ErrorCode | None]:
    """Raises Unreadable."""
    with _readable():
        number, refusal = json.loads(data)
        return number, _code(refusal)


def encode_record(record: Record) -> bytes:
    owed = record.owed
    answers = [[asked, _name(refusal)] for asked, refusal in owed.answers]
    return _dump(
        {
            "fence": record.fence,
            "call": call_to_json(record.call),
            "owed": [int(owed.status), owed.handled, answers],
            "seq": record.seq,
            "unsaved": record.unsaved,
            "noted": record.noted,
        }
    )


def decode_record(data: bytes) -> Record:
    """Raises Unreadable."""
    with _readable():
        value = json.loads(data)
        status, handled, answers = value["owed"]
        return Record(
            value["fence"],
            call_from_json(value["call"]),
            Owed(bool(status), tuple(handled), tuple((Asked(*asked), _code(refusal)) for asked, refusal in answers)),
            value["seq"],
            tuple(
                TimelineEntry(at, user_id, Happening(what), detail) for at, user_id, what, detail in value["unsaved"]
            ),
            value["noted"],
        )


def call_to_json(call: CallState) -> list[Any]:
    """The fields in their order; `call_from_json` reads it."""
    members = [
        [
            member.user_id,
            member.state,
            int(member.reserved),
            int(member.handled),
            member.socket,
            member.until,
            member.left,
            int(member.media),
        ]
        for member in call.members
    ]
    times = (call.created, call.started, call.ended)
    return [call.call_id, members, call.status, call.reason, call.version, *times]


def call_from_json(value: list[Any]) -> CallState:
    """Raises Unreadable."""
    with _readable():
        return _call(value)


def _call(value: list[Any]) -> CallState:
    call_id, members, status, reason, version, created, started, ended = value
    return CallState(
        call_id=call_id,
        members=tuple(
            Member(
                user_id=user_id,
                state=UserState(state),
                reserved=bool(reserved),
                handled=bool(handled),
                socket=socket,
                until=until,
                left=EndReason(left),
                media=bool(media),
            )
            for user_id, state, reserved, handled, socket, until, left, media in members
        ),
        created=created,
        status=CallStatus(status),
        started=started,
        ended=ended,
        reason=EndReason(reason),
        version=version,
    )


def _name(refusal: ErrorCode | None) -> str | None:
    return refusal.name if refusal else None


def _code(name: str | None) -> ErrorCode | None:
    return None if name is None else ErrorCode[name]


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
