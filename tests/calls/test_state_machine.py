"""Random orders of everything that can happen to three calls of five users, late and repeated events included."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from server.calls.events import (
    Event,
    HangUp,
    Join,
    MediaSeen,
    Reserved,
    Silent,
    SocketLost,
    SocketUp,
    TakenOver,
    Tick,
)
from server.calls.state import CallState, Rules, new_call, next_deadline, transition
from server.model.enums import CallStatus, UserState
from tests.calls.invariants import check_call, check_change, check_reservations

USERS = st.integers(1, 5)
CALLS = st.integers(0, 2)
RULES = Rules()


class CallMachine(RuleBasedStateMachine):
    """The world around the transitions, as its manager keeps it: the time, who is reserved, what was ever said."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000_000
        self.calls: list[CallState] = []
        self.sockets = 0
        self.said: list[tuple[int, Event]] = []

    def reserve(self, call_id: int, user_id: int) -> bool:
        """Whether the user is in no other call."""
        return not any(user_id in call.reserved for call in self.calls if call.call_id != call_id)

    def apply(self, index: int, event: Event, *, again: bool = False) -> None:
        before = self.calls[index]
        match event:
            case Join(user_id) | SocketUp(user_id):
                event = replace(event, elsewhere=not self.reserve(before.call_id, user_id))
            case _:
                pass
        step = transition(before, event, self.now, RULES)
        check_change(before, step.call)
        self.calls[index] = step.call
        if not again:
            self.said.append((index, event))

    @initialize(members=st.lists(st.permutations([1, 2, 3, 4, 5]), min_size=3, max_size=3), size=st.integers(2, 5))
    def create(self, members: list[list[int]], size: int) -> None:
        self.calls = [new_call(10 + n, tuple(users[:size]), self.now) for n, users in enumerate(members)]

    @rule(index=CALLS)
    def manager_up(self, index: int) -> None:
        call = self.calls[index]
        if call.status is CallStatus.NEW:
            users = frozenset(each.user_id for each in call.members if self.reserve(call.call_id, each.user_id))
            self.apply(index, Reserved(users))

    @rule(index=CALLS, user_id=USERS)
    def join(self, index: int, user_id: int) -> None:
        self.apply(index, Join(user_id))

    @rule(index=CALLS, user_id=USERS)
    def hang_up(self, index: int, user_id: int) -> None:
        self.apply(index, HangUp(user_id))

    @rule(index=CALLS, user_id=USERS)
    def socket_up(self, index: int, user_id: int) -> None:
        self.sockets = max(self.sockets + 1, self.now)
        self.apply(index, SocketUp(user_id, self.sockets))

    @rule(index=CALLS, user_id=USERS, back=st.integers(0, 2))
    def socket_lost(self, index: int, user_id: int, back: int) -> None:
        self.apply(index, SocketLost(user_id, self.socket_of(index, user_id) - back))

    @rule(index=CALLS, user_id=USERS, back=st.integers(0, 1))
    def silent(self, index: int, user_id: int, back: int) -> None:
        self.apply(index, Silent(user_id, self.socket_of(index, user_id) - back))

    @rule(index=CALLS, user_id=USERS, sender_id=USERS)
    def media(self, index: int, user_id: int, sender_id: int) -> None:
        self.apply(index, MediaSeen(user_id, sender_id))

    @rule(index=CALLS)
    def taken_over(self, index: int) -> None:
        self.apply(index, TakenOver())

    @precondition(lambda self: self.said)
    @rule(data=st.data())
    def something_comes_again(self, data: st.DataObject) -> None:
        index, event = data.draw(st.sampled_from(self.said))
        self.apply(index, event, again=True)

    @rule(seconds=st.sampled_from([0.001, 1, 5, 29.999, 30, 45]))
    def time_passes(self, seconds: float) -> None:
        self.now += int(seconds * 1000)

    @rule(index=CALLS)
    def tick(self, index: int) -> None:
        self.apply(index, Tick())
        due = next_deadline(self.calls[index], RULES)
        assert due is None or due > self.now

    def socket_of(self, index: int, user_id: int) -> int:
        member = self.calls[index].member(user_id)
        return member.socket if member else 1

    @invariant()
    def holds(self) -> None:
        for call in self.calls:
            check_call(call, RULES)
        check_reservations(self.calls)

    def teardown(self) -> None:
        """Everybody's socket goes; then time alone must end every call."""
        for index, call in enumerate(self.calls):
            for member in call.members:
                if member.state is UserState.ONLINE:
                    self.apply(index, SocketLost(member.user_id, member.socket))
        self.now += max(RULES.ring, RULES.silence)
        for index in range(len(self.calls)):
            self.apply(index, Tick())
        self.holds()
        assert all(call.status is CallStatus.END for call in self.calls)


@pytest.mark.timeout(120)
def test_any_order_of_events_keeps_the_invariants() -> None:
    run_state_machine_as_test(
        CallMachine,
        settings=settings(
            max_examples=200, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
