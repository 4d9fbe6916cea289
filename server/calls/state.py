"""The state machine of a call: pure functions of state, event and time. I/O and timers are the manager's.

Users, as the contract has it (1 invited, 2 rejected, 3 accepted, 4 online, 5 offline, 6 dead):

    1 → 3  join                                  3, 5, 6 → 4  socket up
    1 → 2  hang-up; 60 s without an answer       4 → 5        socket lost
    3, 5 → 6  hang-up; 30 s without a socket     4 → 6        hang-up; 30 s without a heartbeat

The call: new → ready when the users are reserved (else end, busy) → active when two are online → end when fewer than
two are neither dead nor rejected, when the caller hangs up before it was active, or 60 s after it was created if
it isn't active.

What the contract leaves open, decided as a person would expect it:

- *Invited when the call becomes active:* goes on ringing until its own 60 s are over, and may join the call that runs.
- *No answer in an active group call:* rejected (2); the others go on. Is it the last that the other one waited for,
  the call ends as rejected.
- *No answer at all:* at 60 s the call's own deadline comes first, so the reason is "no answer" (or "error" if the
  caller never came online) and not "rejected"; whoever is still invited is then rejected.
- *A callee of a group who is in another call* stays invited, without being reserved, like anybody who hasn't answered
  yet: once free they may join, within the 60 s. As long as they are not, joining is "you are in a call".
- *A second socket of the same user* takes over. The numbers of sockets grow, and what concerns an older one is ignored.
- *The 30 s of a user without a socket* begin with its join, with the loss of its socket, or with a takeover of the call
  (nobody could come back while nobody ran it), whichever was last. Joining again begins them anew.
- *Joining again* gives a new token: from 3, 4 and 5 without any change, from 6 as long as the user is in no other call
  (its socket makes it online again). Who rejected or didn't answer is out: the call has ended for them.
- *Back from 6* takes a new reservation. A socket that finds its user in another call is sent away.
- *A join while the call ends:* whichever comes first. Afterwards it is "the call has ended".
- *A hang-up without a socket* is a hang-up. From 2 and 6 it changes nothing but that the user counts as having hung up.
- *A hang-up that overtakes the news of a socket:* whoever hangs up leaves with every socket opened until then. Their
  numbers are times, so what is heard of one later doesn't bring the user back.
- *The caller hangs up before the call was active:* cancelled, whatever the caller's own state and whoever is there.
- *All leave at once:* the first one to leave too few ends the call and gives its reason; a hang-up that was on its way
  then is granted, since what it wants is so.
- *An ended call* keeps the states its users had.
- *Late and repeated events* change nothing: each is ignored unless it fits the state and the number of the socket.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, assert_never

from server.calls.events import (
    Answered,
    Effect,
    Event,
    Handled,
    HangUp,
    Happening,
    Join,
    MediaSeen,
    Noted,
    Reserved,
    Silent,
    SocketLost,
    SocketUp,
    StatusChanged,
    TakenOver,
    Tick,
)
from server.errors import ErrorCode
from server.model.enums import CallStatus, EndReason, UserState

GONE = frozenset({UserState.REJECTED, UserState.DEAD})
JOINED = frozenset({UserState.ACCEPTED, UserState.ONLINE, UserState.OFFLINE})
WAITING = frozenset({UserState.ACCEPTED, UserState.OFFLINE})
"""Those who must open a socket before their time is over."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Milliseconds: how long it rings, and how long a user may be silent."""

    ring: int = 60_000
    silence: int = 30_000


@dataclass(frozen=True, slots=True)
class Member:
    user_id: int
    state: UserState = UserState.INVITED
    reserved: bool = False
    """No other call can have the user."""
    handled: bool = False
    """Has joined or hung up."""
    socket: int = 0
    """The number of the newest socket that came up or was sent away (about when it was opened, in milliseconds since
    1970); 0: there was none."""
    until: int = 0
    """While accepted or offline: when the user is dead (milliseconds since 1970)."""
    left: EndReason = EndReason.NONE
    """Once rejected or dead: why."""
    media: bool = False
    """Has said that picture or sound arrives."""

    @property
    def alive(self) -> bool:
        return self.state not in GONE


@dataclass(frozen=True, slots=True)
class CallState:
    """Times are milliseconds since 1970, 0 where there is none yet. `members`: the caller first."""

    call_id: int
    members: tuple[Member, ...]
    created: int
    status: CallStatus = CallStatus.NEW
    started: int = 0
    ended: int = 0
    reason: EndReason = EndReason.NONE
    version: int = 0
    """Grows with every change."""

    @property
    def caller(self) -> Member:
        return self.members[0]

    @property
    def open(self) -> bool:
        return self.status is not CallStatus.END

    def member(self, user_id: int) -> Member | None:
        return next((member for member in self.members if member.user_id == user_id), None)

    @property
    def reserved(self) -> frozenset[int]:
        return frozenset(member.user_id for member in self.members if member.reserved)

    @property
    def handled(self) -> frozenset[int]:
        return frozenset(member.user_id for member in self.members if member.handled)


class Step(NamedTuple):
    call: CallState
    effects: tuple[Effect, ...] = ()


def new_call(call_id: int, members: tuple[int, ...], created: int) -> CallState:
    return CallState(call_id, tuple(Member(user_id) for user_id in members), created)


def transition(call: CallState, event: Event, now: int, rules: Rules) -> Step:
    """What `event` makes of `call` at `now` (milliseconds since 1970). What changes it or is noted makes a version."""
    step = _transition(call, event, now, rules)
    if step.call == call and not any(isinstance(effect, Noted) for effect in step.effects):
        return Step(call, step.effects)
    return Step(replace(step.call, version=call.version + 1), step.effects)


def next_deadline(call: CallState, rules: Rules) -> int | None:
    """When `Tick` is due next."""
    return min((due for due, _ in _deadlines(call, rules)), default=None)


def is_durable(before: CallState, after: CallState) -> bool:
    """Whether the change must be in the database before anybody hears of it.

    Whether one who has joined is online just now need not be: after a bus that forgot, the sockets tell.
    """
    return _lasting(before) != _lasting(after)


def _lasting(call: CallState) -> tuple[object, ...]:
    return call.status, tuple(
        (UserState.ACCEPTED if member.state in JOINED else member.state, member.reserved, member.handled)
        for member in call.members
    )


def _transition(call: CallState, event: Event, now: int, rules: Rules) -> Step:
    match event:
        case Reserved(users):
            return _reserved(call, users, now)
        case Join(user_id, elsewhere):
            return _join(call, user_id, elsewhere, now, rules)
        case HangUp(user_id):
            return _hang_up(call, user_id, now)
        case SocketUp(user_id, socket, elsewhere):
            return _socket_up(call, user_id, socket, elsewhere, now)
        case SocketLost(user_id, socket):
            return _socket_lost(call, user_id, socket, now, rules)
        case Silent(user_id, socket):
            return _silent(call, user_id, socket, now)
        case MediaSeen(user_id, sender_id):
            return _media_seen(call, user_id, sender_id)
        case Tick():
            return _tick(call, now, rules)
        case TakenOver():
            return _taken_over(call, now, rules)
        case _:
            assert_never(event)


def _reserved(call: CallState, users: frozenset[int], now: int) -> Step:
    if call.status is not CallStatus.NEW:
        return Step(call)
    members = tuple(replace(member, reserved=member.alive and member.user_id in users) for member in call.members)
    notes = tuple(
        Noted(Happening.RINGING if member.reserved else Happening.BUSY, member.user_id)
        for member in members
        if member.alive
    )
    call = replace(call, members=members)
    if not call.caller.reserved or not any(member.reserved for member in members[1:]):
        return _chain(Step(call, notes), _end(call, EndReason.BUSY, now))
    call = replace(call, status=CallStatus.READY)
    return Step(call, (*notes, Noted(Happening.READY), StatusChanged(call.status)))


def _join(call: CallState, user_id: int, elsewhere: bool, now: int, rules: Rules) -> Step:
    member = call.member(user_id)
    if member is None:
        return _refuse(call, ErrorCode.FORBIDDEN)
    if not call.open or member.state is UserState.REJECTED:
        return _refuse(call, ErrorCode.CALL_ENDED)
    if call.status is CallStatus.NEW:
        return _refuse(call, ErrorCode.CALL_NOT_READY)
    until = now + rules.silence
    match member.state:
        case UserState.INVITED if elsewhere:
            return _refuse(call, ErrorCode.CALLER_BUSY)
        case UserState.INVITED:
            joined = replace(member, state=UserState.ACCEPTED, reserved=True, handled=True, until=until)
            told = () if member.handled else (Handled(user_id),)
            return Step(_put(call, joined), (*told, Noted(Happening.JOINED, user_id), Answered()))
        case UserState.ACCEPTED | UserState.OFFLINE:
            return Step(_put(call, replace(member, until=until)), (Answered(),))
        case UserState.ONLINE:
            return Step(call, (Answered(),))
        case UserState.DEAD:
            return _refuse(call, ErrorCode.CALLER_BUSY) if elsewhere else Step(call, (Answered(),))
        case _:
            assert_never(member.state)


def _hang_up(call: CallState, user_id: int, now: int) -> Step:
    member = call.member(user_id)
    if member is None:
        return _refuse(call, ErrorCode.FORBIDDEN)
    if not call.open:
        gone = member.handled and not member.alive
        return Step(call, (Answered(None if gone else ErrorCode.CALL_ENDED),))
    told: tuple[Effect, ...] = () if member.handled else (Handled(user_id),)
    cancelled = member is call.caller and call.status in (CallStatus.NEW, CallStatus.READY)
    reason = EndReason.REJECTED if member.state is UserState.INVITED else EndReason.NORMAL
    left_at = 0 if member.state is UserState.REJECTED else now
    member = replace(member, handled=True, socket=max(member.socket, left_at))
    step = Step(_put(call, member), told)
    if member.alive:
        what = Happening.REJECTED if member.state is UserState.INVITED and not cancelled else Happening.HUNG_UP
        step = _chain(step, Step(_leave(step.call, member, reason), (Noted(what, user_id),)))
    if cancelled:
        step = _chain(step, _end(step.call, EndReason.CANCELLED, now))
    else:
        step = _chain(step, _end_if_too_few(step.call, reason, now))
    return Step(step.call, (*step.effects, Answered()))


def _socket_up(call: CallState, user_id: int, socket: int, elsewhere: bool, now: int) -> Step:
    member = call.member(user_id)
    if member is None or not call.open or socket <= member.socket:
        return Step(call)
    match member.state:
        case UserState.INVITED | UserState.REJECTED:
            return Step(call)
        case UserState.DEAD if elsewhere:
            return Step(_put(call, replace(member, socket=socket, left=EndReason.BUSY)))
        case UserState.ONLINE:
            return Step(_put(call, replace(member, socket=socket)))
        case UserState.ACCEPTED | UserState.OFFLINE | UserState.DEAD:
            member = replace(member, state=UserState.ONLINE, reserved=True, socket=socket, until=0, left=EndReason.NONE)
            call = _put(call, member)
            return _chain(Step(call, (Noted(Happening.ONLINE, user_id),)), _start_if_two(call, now))
        case _:
            assert_never(member.state)


def _socket_lost(call: CallState, user_id: int, socket: int, now: int, rules: Rules) -> Step:
    member = call.member(user_id)
    if member is None or not call.open or member.state is not UserState.ONLINE or member.socket != socket:
        return Step(call)
    member = replace(member, state=UserState.OFFLINE, until=now + rules.silence)
    return Step(_put(call, member), (Noted(Happening.OFFLINE, user_id),))


def _silent(call: CallState, user_id: int, socket: int, now: int) -> Step:
    member = call.member(user_id)
    if member is None or not call.open or member.state is not UserState.ONLINE or member.socket != socket:
        return Step(call)
    return _lose(call, member, now)


def _media_seen(call: CallState, user_id: int, sender_id: int) -> Step:
    member = call.member(user_id)
    if member is None or not call.open or member.state is not UserState.ONLINE or member.media:
        return Step(call)
    if sender_id == user_id or call.member(sender_id) is None:
        return Step(call)
    return Step(_put(call, replace(member, media=True)), (Noted(Happening.MEDIA, user_id, str(sender_id)),))


def _tick(call: CallState, now: int, rules: Rules) -> Step:
    """What is due, in the order of its deadlines (it may be seen late)."""
    step = Step(call)
    while (due := min(_deadlines(step.call, rules), default=None)) is not None and due[0] <= now:
        step = _chain(step, _expire(step.call, due[1], now))
    return step


def _deadlines(call: CallState, rules: Rules) -> Iterator[tuple[int, int]]:
    """(when, index of the member, -1 for the call itself)."""
    ring = call.created + rules.ring
    if call.status in (CallStatus.NEW, CallStatus.READY):
        yield ring, -1
    if call.open:
        for index, member in enumerate(call.members):
            if member.state in WAITING:
                yield member.until, index
            elif member.state is UserState.INVITED and call.status is CallStatus.ACTIVE:
                yield ring, index


def _expire(call: CallState, index: int, now: int) -> Step:
    if index == -1:
        return _never_active(call, now)
    member = call.members[index]
    if member.state is not UserState.INVITED:
        return _lose(call, member, now)
    step = Step(_leave(call, member, EndReason.NO_ANSWER), (Noted(Happening.NO_ANSWER, member.user_id),))
    return _chain(step, _end_if_too_few(step.call, EndReason.REJECTED, now))


def _never_active(call: CallState, now: int) -> Step:
    reason = EndReason.NO_ANSWER if call.caller.socket else EndReason.ERROR
    step = Step(call)
    for member in call.members:
        if member.state is UserState.INVITED:
            left = _leave(step.call, member, EndReason.NO_ANSWER)
            step = _chain(step, Step(left, (Noted(Happening.NO_ANSWER, member.user_id),)))
    return _chain(step, _end(step.call, reason, now))


def _taken_over(call: CallState, now: int, rules: Rules) -> Step:
    if not call.open:
        return Step(call)
    until = now + rules.silence
    members = tuple(
        replace(member, until=max(member.until, until)) if member.state in WAITING else member
        for member in call.members
    )
    return Step(replace(call, members=members), (Noted(Happening.TAKEN_OVER),))


def _lose(call: CallState, member: Member, now: int) -> Step:
    step = Step(_leave(call, member, EndReason.LOST), (Noted(Happening.LOST, member.user_id),))
    return _chain(step, _end_if_too_few(step.call, EndReason.LOST, now))


def _leave(call: CallState, member: Member, reason: EndReason) -> CallState:
    state = UserState.REJECTED if member.state is UserState.INVITED else UserState.DEAD
    return _put(call, replace(member, state=state, reserved=False, until=0, left=reason))


def _start_if_two(call: CallState, now: int) -> Step:
    online = sum(member.state is UserState.ONLINE for member in call.members)
    if call.status is not CallStatus.READY or online < 2:
        return Step(call)
    call = replace(call, status=CallStatus.ACTIVE, started=now)
    return Step(call, (Noted(Happening.ACTIVE), StatusChanged(call.status)))


def _end_if_too_few(call: CallState, reason: EndReason, now: int) -> Step:
    alive = sum(member.alive for member in call.members)
    return _end(call, reason, now) if call.open and alive < 2 else Step(call)


def _end(call: CallState, reason: EndReason, now: int) -> Step:
    members = tuple(replace(member, reserved=False, until=0) for member in call.members)
    call = replace(call, members=members, status=CallStatus.END, ended=now, reason=reason)
    return Step(call, (Noted(Happening.ENDED, detail=reason.name), StatusChanged(call.status)))


def _refuse(call: CallState, code: ErrorCode) -> Step:
    return Step(call, (Answered(code),))


def _put(call: CallState, member: Member) -> CallState:
    members = tuple(member if other.user_id == member.user_id else other for other in call.members)
    return replace(call, members=members)


def _chain(first: Step, then: Step) -> Step:
    return Step(then.call, first.effects + then.effects)
