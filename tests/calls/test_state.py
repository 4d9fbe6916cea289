"""Every transition of a call, by a table. The users of the tables: 1 calls, 2 and 3 are called."""

from dataclasses import replace

import pytest

from server.calls.events import (
    Answered,
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
from server.calls.state import JOINED, CallState, Member, Rules, Step, is_durable, new_call, next_deadline, transition
from server.errors import ErrorCode
from server.model.enums import CallStatus, EndReason, UserState

RULES = Rules()
CREATED = 1_000_000
NOW = CREATED + 10_000
RING_OVER = CREATED + RULES.ring

NEW, READY, ACTIVE, END = CallStatus
INVITED, REJECTED, ACCEPTED, ONLINE, OFFLINE, DEAD = UserState


def member(user_id: int, state: UserState, *, busy: bool = False) -> Member:
    """A user who came into `state` at NOW, on socket 7 if on any."""
    return Member(
        user_id,
        state,
        reserved=state in {INVITED, *JOINED} and not busy,
        handled=state not in {INVITED, REJECTED},
        socket=7 if state in {ONLINE, OFFLINE, DEAD} else 0,
        until=NOW + RULES.silence if state in {ACCEPTED, OFFLINE} else 0,
        left={REJECTED: EndReason.NO_ANSWER, DEAD: EndReason.LOST}.get(state, EndReason.NONE),
    )


def call(status: CallStatus, *states: UserState) -> CallState:
    members = tuple(member(user_id, state) for user_id, state in enumerate(states, 1))
    started = NOW if status in {ACTIVE, END} else 0
    if status is END:
        members = tuple(replace(each, reserved=False, until=0) for each in members)
        return CallState(5, members, CREATED, END, started, NOW, EndReason.NORMAL, version=9)
    return CallState(5, members, CREATED, status, started, version=9)


def apply(before: CallState, event: Event, now: int = NOW) -> Step:
    return transition(before, event, now, RULES)


def states(step: Step) -> list[UserState]:
    return [each.state for each in step.call.members]


def noted(step: Step) -> list[tuple[Happening, int]]:
    return [(effect.what, effect.user_id) for effect in step.effects if isinstance(effect, Noted)]


def answer(step: Step) -> Answered:
    (found,) = (effect for effect in step.effects if isinstance(effect, Answered))
    return found


def told(step: Step) -> list[CallStatus | int]:
    """Status changes and user ids of `Handled`, in order."""
    return [
        effect.status if isinstance(effect, StatusChanged) else effect.user_id
        for effect in step.effects
        if isinstance(effect, StatusChanged | Handled)
    ]


# one user's state: (from, event, status before) -> to

USER_TABLE = [
    (INVITED, Join(2), READY, ACCEPTED),
    (INVITED, Join(2), ACTIVE, ACCEPTED),
    (INVITED, Join(2, elsewhere=True), READY, INVITED),
    (INVITED, HangUp(2), READY, REJECTED),
    (INVITED, HangUp(2), NEW, REJECTED),
    (INVITED, SocketUp(2, 8), READY, INVITED),
    (INVITED, SocketLost(2, 7), READY, INVITED),
    (INVITED, Silent(2, 7), READY, INVITED),
    (REJECTED, Join(2), READY, REJECTED),
    (REJECTED, HangUp(2), READY, REJECTED),
    (REJECTED, SocketUp(2, 8), READY, REJECTED),
    (REJECTED, SocketLost(2, 7), READY, REJECTED),
    (REJECTED, Silent(2, 7), READY, REJECTED),
    (ACCEPTED, Join(2), READY, ACCEPTED),
    (ACCEPTED, HangUp(2), READY, DEAD),
    (ACCEPTED, SocketUp(2, 8), READY, ONLINE),
    (ACCEPTED, SocketLost(2, 7), READY, ACCEPTED),
    (ACCEPTED, Silent(2, 7), READY, ACCEPTED),
    (ONLINE, Join(2), READY, ONLINE),
    (ONLINE, HangUp(2), READY, DEAD),
    (ONLINE, SocketUp(2, 8), READY, ONLINE),
    (ONLINE, SocketUp(2, 7), READY, ONLINE),
    (ONLINE, SocketLost(2, 7), READY, OFFLINE),
    (ONLINE, SocketLost(2, 6), READY, ONLINE),
    (ONLINE, SocketLost(2, 8), READY, ONLINE),
    (ONLINE, Silent(2, 7), READY, DEAD),
    (ONLINE, Silent(2, 6), READY, ONLINE),
    (OFFLINE, Join(2), READY, OFFLINE),
    (OFFLINE, HangUp(2), READY, DEAD),
    (OFFLINE, SocketUp(2, 8), READY, ONLINE),
    (OFFLINE, SocketUp(2, 7), READY, OFFLINE),
    (OFFLINE, SocketLost(2, 7), READY, OFFLINE),
    (OFFLINE, Silent(2, 7), READY, OFFLINE),
    (DEAD, Join(2), READY, DEAD),
    (DEAD, HangUp(2), READY, DEAD),
    (DEAD, SocketUp(2, 8), READY, ONLINE),
    (DEAD, SocketUp(2, 8), ACTIVE, ONLINE),
    (DEAD, SocketUp(2, 7), READY, DEAD),
    (DEAD, SocketUp(2, 8, elsewhere=True), READY, DEAD),
    (DEAD, SocketLost(2, 7), READY, DEAD),
    (DEAD, Silent(2, 7), READY, DEAD),
]


@pytest.mark.parametrize(("before", "event", "status", "after"), USER_TABLE)
def test_user_state(before: UserState, event: Event, status: CallStatus, after: UserState) -> None:
    start = call(status, ACCEPTED, before, INVITED, INVITED)

    step = apply(start, event)

    assert states(step) == [ACCEPTED, after, INVITED, INVITED]
    assert step.call.status is status
    user = step.call.members[1]
    assert user.reserved == (after in {INVITED, *JOINED})
    assert (user.left is EndReason.NONE) == (after not in {REJECTED, DEAD})
    assert bool(user.until) == (after in {ACCEPTED, OFFLINE})
    assert step.call.version == start.version + (step.call != start)


@pytest.mark.parametrize("event", [HangUp(2), Join(2), SocketUp(2, 8), SocketLost(2, 7), Silent(2, 7), MediaSeen(2, 1)])
@pytest.mark.parametrize("state", UserState)
def test_nothing_changes_an_ended_call(event: Event, state: UserState) -> None:
    ended = call(END, ONLINE, state, ONLINE)
    for each in (event, Tick(), TakenOver(), Reserved(frozenset({1, 2, 3}))):
        assert apply(ended, each, RING_OVER + RULES.silence).call == ended
    assert next_deadline(ended, RULES) is None


# the answers to joins and hang-ups

JOIN_ANSWERS = [
    (NEW, INVITED, False, ErrorCode.CALL_NOT_READY),
    (READY, INVITED, False, None),
    (READY, INVITED, True, ErrorCode.CALLER_BUSY),
    (READY, REJECTED, False, ErrorCode.CALL_ENDED),
    (READY, ACCEPTED, False, None),
    (ACTIVE, ONLINE, False, None),
    (ACTIVE, OFFLINE, False, None),
    (ACTIVE, DEAD, False, None),
    (ACTIVE, DEAD, True, ErrorCode.CALLER_BUSY),
    (END, INVITED, False, ErrorCode.CALL_ENDED),
    (END, ONLINE, False, ErrorCode.CALL_ENDED),
]


@pytest.mark.parametrize(("status", "state", "elsewhere", "refusal"), JOIN_ANSWERS)
def test_join_is_answered(status: CallStatus, state: UserState, elsewhere: bool, refusal: ErrorCode | None) -> None:
    assert answer(apply(call(status, ACCEPTED, state, ACCEPTED), Join(2, elsewhere))) == Answered(refusal)


HANG_UP_ANSWERS = [
    (NEW, INVITED, None),
    (READY, INVITED, None),
    (READY, ACCEPTED, None),
    (READY, REJECTED, None),
    (ACTIVE, DEAD, None),
    (END, ONLINE, ErrorCode.CALL_ENDED),
    (END, REJECTED, ErrorCode.CALL_ENDED),
    (END, DEAD, None),
]


@pytest.mark.parametrize(("status", "state", "refusal"), HANG_UP_ANSWERS)
def test_hang_up_is_answered(status: CallStatus, state: UserState, refusal: ErrorCode | None) -> None:
    assert answer(apply(call(status, ONLINE, state, ONLINE), HangUp(2))) == Answered(refusal)


def test_strangers_are_refused() -> None:
    ready = call(READY, ACCEPTED, INVITED)
    for event in (Join(9), HangUp(9)):
        assert apply(ready, event) == Step(ready, (Answered(ErrorCode.FORBIDDEN),))
    for other in (SocketUp(9, 1), SocketLost(9, 1), Silent(9, 1), MediaSeen(9, 1)):
        assert apply(ready, other) == Step(ready)


# from new to ready, active and end


def test_ready_when_all_are_reserved() -> None:
    step = apply(new_call(5, (1, 2), CREATED), Reserved(frozenset({1, 2})))
    assert (step.call.status, set(step.call.reserved), told(step)) == (READY, {1, 2}, [READY])
    assert noted(step) == [(Happening.RINGING, 1), (Happening.RINGING, 2), (Happening.READY, 0)]
    assert apply(step.call, Reserved(frozenset({1}))) == Step(step.call)


def test_a_callee_who_is_busy_in_a_group_call_stays_invited_without_being_reserved() -> None:
    step = apply(new_call(5, (1, 2, 3), CREATED), Reserved(frozenset({1, 2})))
    assert (step.call.status, set(step.call.reserved), states(step)) == (READY, {1, 2}, [INVITED] * 3)
    assert (Happening.BUSY, 3) in noted(step)

    assert answer(apply(step.call, Join(3, elsewhere=True))) == Answered(ErrorCode.CALLER_BUSY)
    assert apply(step.call, Join(3)).call.reserved == {1, 2, 3}


@pytest.mark.parametrize("free", [set(), {1}, {2}, {2, 3}])
def test_ends_as_busy_unless_the_caller_and_one_callee_are_free(free: set[int]) -> None:
    step = apply(new_call(5, (1, 2, 3), CREATED), Reserved(frozenset(free)))
    assert (step.call.status, step.call.reason, step.call.ended) == (END, EndReason.BUSY, NOW)
    assert (step.call.reserved, told(step)) == (frozenset(), [END])


def test_who_rejected_a_new_call_is_not_reserved() -> None:
    rejected = apply(new_call(5, (1, 2, 3), CREATED), HangUp(2)).call
    assert apply(rejected, Reserved(frozenset({1, 2, 3}))).call.reserved == {1, 3}


def test_active_when_two_are_online() -> None:
    step = apply(call(READY, ONLINE, ACCEPTED, INVITED), SocketUp(2, 8))
    assert (step.call.status, step.call.started, told(step)) == (ACTIVE, NOW, [ACTIVE])
    assert states(step) == [ONLINE, ONLINE, INVITED]
    assert noted(step) == [(Happening.ONLINE, 2), (Happening.ACTIVE, 0)]


def test_one_online_is_not_enough() -> None:
    assert apply(call(READY, ACCEPTED, ACCEPTED), SocketUp(1, 8)).call.status is READY
    assert apply(call(READY, OFFLINE, ACCEPTED), SocketUp(2, 8)).call.status is READY


def test_stays_active_with_one_online() -> None:
    assert apply(call(ACTIVE, ONLINE, ONLINE), SocketLost(1, 7)).call.status is ACTIVE


ENDS = [
    (READY, [ONLINE, INVITED], HangUp(2), EndReason.REJECTED),
    (READY, [ONLINE, ACCEPTED], HangUp(2), EndReason.NORMAL),
    (NEW, [INVITED, INVITED], HangUp(1), EndReason.CANCELLED),
    (READY, [INVITED, INVITED], HangUp(1), EndReason.CANCELLED),
    (READY, [ACCEPTED, ACCEPTED], HangUp(1), EndReason.CANCELLED),
    (READY, [ONLINE, ACCEPTED, INVITED], HangUp(1), EndReason.CANCELLED),
    (READY, [DEAD, ACCEPTED, ACCEPTED], HangUp(1), EndReason.CANCELLED),
    (ACTIVE, [ONLINE, ONLINE], HangUp(1), EndReason.NORMAL),
    (ACTIVE, [ONLINE, OFFLINE], HangUp(1), EndReason.NORMAL),
    (ACTIVE, [ONLINE, ONLINE, REJECTED, DEAD], HangUp(2), EndReason.NORMAL),
    (ACTIVE, [ONLINE, ONLINE], Silent(2, 7), EndReason.LOST),
    (ACTIVE, [DEAD, ONLINE, INVITED], HangUp(3), EndReason.REJECTED),
]


@pytest.mark.parametrize(("status", "before", "event", "reason"), ENDS)
def test_ends(status: CallStatus, before: list[UserState], event: Event, reason: EndReason) -> None:
    step = apply(call(status, *before), event)
    assert (step.call.status, step.call.reason, step.call.ended) == (END, reason, NOW)
    assert step.call.reserved == frozenset()
    assert told(step)[-1] is END
    assert noted(step)[-1] == (Happening.ENDED, 0)
    assert next_deadline(step.call, RULES) is None


GOES_ON = [
    (ACTIVE, [ONLINE, ONLINE, INVITED], HangUp(1)),
    (ACTIVE, [ONLINE, ONLINE, ONLINE], HangUp(1)),
    (ACTIVE, [ONLINE, ONLINE, ONLINE], Silent(3, 7)),
    (READY, [ONLINE, INVITED, INVITED], HangUp(2)),
]


@pytest.mark.parametrize(("status", "before", "event"), GOES_ON)
def test_goes_on_with_two(status: CallStatus, before: list[UserState], event: Event) -> None:
    assert apply(call(status, *before), event).call.status is status


def test_handled_is_told_once() -> None:
    joined = apply(call(READY, ACCEPTED, INVITED, INVITED), Join(2))
    assert told(joined) == [2]
    assert told(apply(joined.call, Join(2))) == []
    assert told(apply(joined.call, HangUp(2))) == []
    assert told(apply(call(READY, ACCEPTED, REJECTED, INVITED), HangUp(2))) == [2]


def test_handled_comes_before_the_end() -> None:
    assert told(apply(call(READY, ACCEPTED, INVITED), HangUp(2))) == [2, END]


def test_all_leave_at_once() -> None:
    first = apply(call(ACTIVE, ONLINE, ONLINE), HangUp(1))
    assert answer(first) == Answered()
    second = apply(first.call, HangUp(2))
    assert second == Step(first.call, (Answered(ErrorCode.CALL_ENDED),))
    assert answer(apply(first.call, HangUp(1))) == Answered()


def test_a_second_socket_takes_over() -> None:
    step = apply(call(ACTIVE, ONLINE, ONLINE), SocketUp(2, 8))
    assert states(step) == [ONLINE, ONLINE]
    assert states(apply(step.call, SocketLost(2, 7))) == [ONLINE, ONLINE]
    assert states(apply(step.call, Silent(2, 7))) == [ONLINE, ONLINE]
    assert apply(step.call, SocketUp(2, 7)) == Step(step.call)
    assert states(apply(step.call, SocketLost(2, 8))) == [ONLINE, OFFLINE]


@pytest.mark.parametrize("state", [ACCEPTED, ONLINE, OFFLINE, DEAD])
def test_who_hangs_up_leaves_with_every_socket_opened_until_then(state: UserState) -> None:
    step = apply(call(ACTIVE, ONLINE, state, ONLINE), HangUp(2))
    assert step.call.members[1].socket == NOW
    for opened in (NOW - 1, NOW):
        assert apply(step.call, SocketUp(2, opened)) == Step(step.call)
    assert states(apply(step.call, SocketUp(2, NOW + 1))) == [ONLINE, ONLINE, ONLINE]


def test_a_socket_of_the_dead_is_told_why_it_is_sent_away() -> None:
    step = apply(call(ACTIVE, ONLINE, DEAD, ONLINE), SocketUp(2, 8, elsewhere=True))
    assert step.call.members[1] == replace(member(2, DEAD), socket=8, left=EndReason.BUSY)
    assert states(apply(step.call, SocketUp(2, 9))) == [ONLINE, ONLINE, ONLINE]


# time


def test_deadline_of_a_call_that_is_not_active() -> None:
    assert next_deadline(call(NEW, INVITED, INVITED), RULES) == RING_OVER
    assert next_deadline(call(READY, INVITED, INVITED), RULES) == RING_OVER
    assert next_deadline(call(READY, ACCEPTED, INVITED), RULES) == NOW + RULES.silence
    assert next_deadline(call(ACTIVE, ONLINE, ONLINE), RULES) is None
    assert next_deadline(call(ACTIVE, ONLINE, ONLINE, INVITED), RULES) == RING_OVER
    assert next_deadline(call(ACTIVE, ONLINE, ONLINE, OFFLINE), RULES) == NOW + RULES.silence


def test_nothing_is_due_before_its_time() -> None:
    for before in (call(READY, ONLINE, INVITED), call(ACTIVE, ONLINE, ONLINE, INVITED), call(ACTIVE, ONLINE, OFFLINE)):
        due = next_deadline(before, RULES)
        assert due is not None
        assert apply(before, Tick(), due - 1) == Step(before)
        assert apply(before, Tick(), due).call != before


NOT_ACTIVE_IN_TIME = [
    ([ONLINE, INVITED], EndReason.NO_ANSWER, [ONLINE, REJECTED]),
    ([ONLINE, INVITED, INVITED], EndReason.NO_ANSWER, [ONLINE, REJECTED, REJECTED]),
    ([INVITED, INVITED], EndReason.ERROR, [REJECTED, REJECTED]),
]


@pytest.mark.parametrize(("before", "reason", "after"), NOT_ACTIVE_IN_TIME)
@pytest.mark.parametrize("status", [NEW, READY])
def test_not_active_in_time(
    status: CallStatus, before: list[UserState], reason: EndReason, after: list[UserState]
) -> None:
    step = apply(call(status, *before), Tick(), RING_OVER)
    assert (step.call.status, step.call.reason, states(step), told(step)) == (END, reason, after, [END])


def test_the_caller_who_was_online_gets_no_answer_even_if_offline_at_the_end() -> None:
    start = call(READY, OFFLINE, INVITED)
    start = replace(start, members=(replace(start.caller, until=RING_OVER + 1), *start.members[1:]))
    assert apply(start, Tick(), RING_OVER).call.reason is EndReason.NO_ANSWER


def test_no_answer_in_an_active_call_rejects_and_the_others_go_on() -> None:
    step = apply(call(ACTIVE, ONLINE, ONLINE, INVITED), Tick(), RING_OVER)
    assert (step.call.status, states(step)) == (ACTIVE, [ONLINE, ONLINE, REJECTED])
    assert step.call.members[2].left is EndReason.NO_ANSWER
    assert not step.call.members[2].handled
    assert not step.call.members[2].reserved


def test_the_last_one_who_was_waited_for_does_not_answer() -> None:
    step = apply(call(ACTIVE, ONLINE, DEAD, INVITED), Tick(), RING_OVER)
    assert (step.call.status, step.call.reason) == (END, EndReason.REJECTED)


@pytest.mark.parametrize("state", [ACCEPTED, OFFLINE])
def test_without_a_socket_for_too_long(state: UserState) -> None:
    step = apply(call(ACTIVE, ONLINE, ONLINE, state), Tick(), NOW + RULES.silence)
    assert (states(step), noted(step)) == ([ONLINE, ONLINE, DEAD], [(Happening.LOST, 3)])
    step = apply(call(ACTIVE, ONLINE, state), Tick(), NOW + RULES.silence)
    assert (step.call.status, step.call.reason) == (END, EndReason.LOST)


def test_a_late_tick_takes_deadlines_in_their_order() -> None:
    start = call(READY, ONLINE, ACCEPTED)
    step = apply(start, Tick(), RING_OVER + 1)
    assert (step.call.reason, states(step)) == (EndReason.LOST, [ONLINE, DEAD])


def test_joining_again_begins_the_wait_anew() -> None:
    for state in (ACCEPTED, OFFLINE):
        step = apply(call(ACTIVE, ONLINE, ONLINE, state), Join(3), NOW + 5)
        assert step.call.members[2].until == NOW + 5 + RULES.silence


def test_a_takeover_begins_the_wait_anew() -> None:
    step = apply(call(ACTIVE, ONLINE, OFFLINE, ACCEPTED, INVITED), TakenOver(), NOW + 20_000)
    assert states(step) == [ONLINE, OFFLINE, ACCEPTED, INVITED]
    assert [each.until for each in step.call.members] == [0, NOW + 50_000, NOW + 50_000, 0]
    earlier = apply(step.call, TakenOver(), NOW)
    assert [each.until for each in earlier.call.members] == [0, NOW + 50_000, NOW + 50_000, 0]


def test_media_is_noted_once_per_user() -> None:
    step = apply(call(ACTIVE, ONLINE, ONLINE), MediaSeen(1, 2))
    assert step.effects == (Noted(Happening.MEDIA, 1, "2"),)
    assert apply(step.call, MediaSeen(1, 2)) == Step(step.call)
    for nonsense in (MediaSeen(2, 2), MediaSeen(2, 9)):
        assert apply(step.call, nonsense) == Step(step.call)
    offline = call(ACTIVE, ONLINE, OFFLINE)
    assert apply(offline, MediaSeen(2, 1)) == Step(offline)


@pytest.mark.parametrize(
    ("event", "durable"),
    [
        (Join(3), True),
        (HangUp(3), True),
        (HangUp(1), True),
        (Silent(1, 7), True),
        (SocketLost(1, 7), False),
        (SocketUp(4, 8), False),
        (MediaSeen(1, 2), False),
    ],
)
def test_what_must_be_in_the_database_at_once(event: Event, durable: bool) -> None:
    before = call(ACTIVE, ONLINE, ONLINE, INVITED, OFFLINE)
    assert is_durable(before, apply(before, event).call) is durable
