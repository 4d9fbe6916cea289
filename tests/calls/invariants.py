"""What must be true of calls at every moment."""

from collections.abc import Iterable

from server.calls.state import JOINED, CallState, Rules, next_deadline
from server.model.enums import CallStatus, EndReason, UserState


def check_call(call: CallState, rules: Rules) -> None:
    """Raises AssertionError with the call if it can't be."""
    alive = [member for member in call.members if member.alive]
    online = [member for member in call.members if member.state is UserState.ONLINE]
    if call.status is CallStatus.END:
        assert call.ended, call
        assert call.reason is not EndReason.NONE, call
        assert not call.reserved, call
        assert next_deadline(call, rules) is None, call
    else:
        assert (call.reason, call.ended) == (EndReason.NONE, 0), call
        assert len(alive) >= 2, call
        # a call that isn't sure to end by itself has only people in it who are there
        assert next_deadline(call, rules) is not None or alive == online, call
    if call.status in (CallStatus.READY, CallStatus.NEW):
        assert len(online) < 2, call
        assert not call.started, call
    if call.status is CallStatus.ACTIVE:
        assert call.started, call
    if call.status is CallStatus.NEW:
        assert not call.reserved, call
    for member in call.members:
        assert (member.left is EndReason.NONE) == member.alive, call
        assert not (member.reserved and not member.alive), call
        if member.state in JOINED:
            assert member.handled, call
            assert member.reserved == call.open, call
        if member.state is UserState.ONLINE:
            assert member.socket, call
        waits = call.open and member.state in (UserState.ACCEPTED, UserState.OFFLINE)
        assert bool(member.until) == waits, call


def check_change(before: CallState, after: CallState) -> None:
    """Raises AssertionError if `before` can't have become `after` in one step."""
    assert after.status >= before.status, (before, after)
    assert before.open or after == before, (before, after)
    assert after.handled >= before.handled, (before, after)
    assert (after == before) == (after.version == before.version), (before, after)
    assert after.version >= before.version, (before, after)
    allowed = {
        UserState.INVITED: {UserState.REJECTED, UserState.ACCEPTED},
        UserState.REJECTED: set[UserState](),
        UserState.ACCEPTED: {UserState.ONLINE, UserState.DEAD},
        UserState.ONLINE: {UserState.OFFLINE, UserState.DEAD},
        UserState.OFFLINE: {UserState.ONLINE, UserState.DEAD},
        UserState.DEAD: {UserState.ONLINE},
    }
    for old, new in zip(before.members, after.members, strict=True):
        assert new.state is old.state or new.state in allowed[old.state], (before, after)
        assert new.socket >= old.socket, (before, after)


def check_reservations(calls: Iterable[CallState]) -> None:
    """Raises AssertionError if two calls hold the same user."""
    held: dict[int, int] = {}
    for call in calls:
        for user_id in call.reserved:
            assert user_id not in held, f"{user_id} is in {held[user_id]} and {call.call_id}"
            held[user_id] = call.call_id
