"""What a call's sockets are sent through their mailboxes: views of the call, and each other's signaling."""

import json
from dataclasses import dataclass
from typing import NamedTuple

from server.calls.codec import Record
from server.model.enums import CallStatus, EndReason, UserState

_VIEW = b"V"
_SIGNAL = b"S"


class Place(NamedTuple):
    """A member in a view; the fields are those of `state.Member`."""

    state: UserState
    socket: int
    left: EndReason


@dataclass(frozen=True, slots=True)
class View:
    """The whole call as its sockets need it: a socket that missed some views has missed nothing."""

    order: tuple[int, int]
    """See `Record.order`."""
    status: CallStatus
    reason: EndReason
    members: dict[int, Place]

    @classmethod
    def of(cls, record: Record) -> "View":
        call = record.call
        members = {member.user_id: Place(member.state, member.socket, member.left) for member in call.members}
        return cls(record.order, call.status, call.reason, members)


class Signal(NamedTuple):
    """A frame of signaling on its way. `(socket, number)` grows from one to the next of the same sender."""

    from_user_id: int
    socket: int
    number: int
    frame: str


def encode_view(view: View) -> bytes:
    members = [(user_id, *place) for user_id, place in view.members.items()]
    value = (*view.order, view.status, view.reason, members)
    return _VIEW + json.dumps(value, separators=(",", ":")).encode()


def encode_signal(signal: Signal) -> bytes:
    return b"%b%d %d %d %b" % (_SIGNAL, signal.from_user_id, signal.socket, signal.number, signal.frame.encode())


def decode(data: bytes) -> View | Signal:
    if data[:1] == _SIGNAL:
        from_user_id, socket, number, frame = data[1:].split(b" ", 3)
        return Signal(int(from_user_id), int(socket), int(number), frame.decode())
    fence, version, status, reason, members = json.loads(data[1:])
    return View(
        (fence, version),
        CallStatus(status),
        EndReason(reason),
        {user_id: Place(UserState(state), socket, EndReason(left)) for user_id, state, socket, left in members},
    )
