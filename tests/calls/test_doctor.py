"""The doctor finds nothing where all agrees, and each thing that doesn't."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from server.bus.interface import Address
from server.bus.memory import MemoryBus, MemoryHub
from server.calls.codec import Record, encode_record
from server.calls.doctor import Facts, Finding, InDatabase, InProcess, OnBus, examine, lasting, look_at_bus
from server.calls.events import HangUp, Join, Reserved, SocketUp
from server.calls.names import INBOX_TTL, MANAGER, SEAT_TTL, STATE_KEY, STATE_TTL, call_group, seat_name
from server.calls.state import CallState, Rules, new_call, transition
from server.clock import SystemClock
from server.model.enums import EndReason
from tests.calls.memory_store import message_of

RULES = Rules()
CREATED = 1_000_000
NOW = CREATED + 10_000
FENCE = 7


def active_call(call_id: int, *members: int) -> CallState:
    """The caller and the first callee are online; the others are called still."""
    caller, callee = members[:2]
    call = new_call(call_id, members, CREATED)
    for event in (
        Reserved(frozenset(members)),
        Join(caller),
        Join(callee),
        SocketUp(caller, CREATED + 1),
        SocketUp(callee, CREATED + 2),
    ):
        call = transition(call, event, NOW, RULES).call
    return call


def ended_call(call_id: int, *members: int) -> CallState:
    return transition(active_call(call_id, *members), HangUp(members[0]), NOW, RULES).call


def in_database(state: CallState) -> InDatabase:
    row = message_of(state).call
    assert row is not None
    members = frozenset(member.user_id for member in state.members)
    return InDatabase(row, Record(FENCE, state), members, state.call_id)


def on_bus(state: CallState) -> OnBus:
    online = {seat_name(member.user_id) for member in state.members if member.socket}
    return OnBus(True, frozenset({MANAGER, *online}), frozenset({STATE_KEY}), Record(FENCE, state))


OPEN, ENDED = active_call(1, 10, 11, 12), ended_call(2, 10, 13)
HEALTHY = Facts(
    now=NOW,
    calls={1: in_database(OPEN), 2: in_database(ENDED)},
    reserved={10: 1, 11: 1, 12: 1},
    bus={1: on_bus(OPEN)},
    processes=[InProcess({1: OPEN}, [(1, 10)]), InProcess({}, [(1, 11)])],
)


def with_call(call_id: int, **changes: Any) -> Facts:
    return replace(HEALTHY, calls={**HEALTHY.calls, call_id: replace(HEALTHY.calls[call_id], **changes)})


def with_row(call_id: int, **changes: Any) -> Facts:
    return with_call(call_id, row=replace(HEALTHY.calls[call_id].row, **changes))


def with_bus(call_id: int, held: OnBus | None) -> Facts:
    assert HEALTHY.bus is not None
    bus = {key: value for key, value in HEALTHY.bus.items() if key != call_id}
    return replace(HEALTHY, bus=bus if held is None else {**bus, call_id: held})


def with_state(state: CallState) -> Facts:
    """The call is so everywhere."""
    return replace(
        HEALTHY,
        calls={**HEALTHY.calls, state.call_id: in_database(state)},
        reserved=dict.fromkeys(state.reserved, state.call_id),
        bus={state.call_id: on_bus(state)},
        processes=[InProcess({state.call_id: state}, [])],
    )


def texts(findings: list[Finding]) -> list[str]:
    return [f"{finding.call_id} {finding.text}" for finding in findings]


def test_nothing_is_found_where_all_agrees() -> None:
    assert examine(HEALTHY, RULES) == []
    assert examine(replace(HEALTHY, bus=None, processes=()), RULES) == []
    assert examine(Facts(NOW, {}, {}, {}), RULES) == []


def test_a_call_of_an_old_deployment_has_no_state() -> None:
    assert examine(with_call(2, record=None), RULES) == []


BUS = on_bus(OPEN)
LEFT_BY_ENDED = OnBus(True, frozenset({MANAGER, "13"}), frozenset({STATE_KEY}), Record(FENCE, ENDED))
OLDER = replace(OPEN, version=OPEN.version - 1)
HUNG_UP = transition(OPEN, HangUp(12), NOW, RULES).call
ALONE = replace(
    OPEN, members=tuple(replace(member, state=member.state.DEAD, reserved=False) for member in OPEN.members)
)

FINDINGS: list[tuple[Callable[[], Facts], list[str]]] = [
    (lambda: replace(HEALTHY, reserved={**HEALTHY.reserved, 13: 2}), ["2 reserves user 13, but it has ended"]),
    (lambda: replace(HEALTHY, reserved={**HEALTHY.reserved, 5: 9}), ["9 reserves user 5, but there is no such call"]),
    (lambda: replace(HEALTHY, reserved={**HEALTHY.reserved, 5: 1}), ["1 reserves user 5, who isn't in it"]),
    (lambda: replace(HEALTHY, reserved={10: 1, 11: 1}), ["1 has user 12 in it without a reservation"]),
    (
        lambda: with_row(2, end_reason=EndReason.LOST),
        ["2 its row says of its end reason LOST, its state NORMAL"],
    ),
    (lambda: with_row(1, status=OPEN.status.READY), ["1 its row says of its status READY, its state ACTIVE"]),
    (lambda: with_row(1, start_time=None), ["1 its row says of its start False, its state True"]),
    (lambda: with_row(2, end_time=None), ["2 its row says of its end False, its state True"]),
    (
        lambda: with_row(1, handled_by=frozenset({10})),
        ["1 its row says of its handled [10], its state [10, 11]"],
    ),
    (
        lambda: with_call(2, listed=frozenset({10, 4})),
        ["2 is in the history of user 4, who isn't a member", "2 isn't in the history of user 13, who is a member"],
    ),
    (lambda: with_call(2, message_call=0), ["2 its message 2 is of call 0"]),
    (lambda: with_state(ALONE), ["1 is open with 0 left in it"]),
    (
        lambda: replace(HEALTHY, now=CREATED + RULES.ring + 30_001),
        ["1 is open though its time is over: nobody sees to it"],
    ),
    (lambda: replace(HEALTHY, now=CREATED + RULES.ring + 30_000), []),
    (
        lambda: with_bus(1, None),
        [
            "1 is open and has no owner",
            "1 is open and has no state on the bus that can be read",
            "1 is open and its manager has no mailbox",
        ],
    ),
    (lambda: with_bus(1, replace(BUS, leased=False)), ["1 is open and has no owner"]),
    (
        lambda: with_bus(1, replace(BUS, mailboxes=BUS.mailboxes - {MANAGER})),
        ["1 is open and its manager has no mailbox"],
    ),
    (lambda: with_bus(1, replace(BUS, mailboxes=BUS.mailboxes - {"11"})), ["1 has user 11 online without a socket"]),
    (
        lambda: with_bus(1, replace(BUS, mailboxes=BUS.mailboxes | {"99"})),
        ["1 has a mailbox, 99, that is no member's"],
    ),
    (lambda: with_bus(1, replace(BUS, record=None)), ["1 is open and has no state on the bus that can be read"]),
    (
        lambda: with_bus(1, replace(BUS, record=Record(FENCE, OLDER))),
        ["1 its manager has another state than the bus", "1 its state on the bus is older than in the database"],
    ),
    (
        lambda: replace(with_bus(1, replace(BUS, record=Record(FENCE, HUNG_UP))), processes=()),
        ["1 its state on the bus isn't in the database"],
    ),
    (
        lambda: with_bus(2, LEFT_BY_ENDED),
        ["2 has a key on the bus, state, but it has ended", "2 has an owner, but it has ended"],
    ),
    (
        lambda: replace(with_bus(2, LEFT_BY_ENDED), now=NOW + 70_000),
        [
            "2 has a key on the bus, state, but it has ended",
            "2 has a mailbox, 13, but it has ended",
            "2 has a mailbox, manager, but it has ended",
            "2 has an owner, but it has ended",
        ],
    ),
    (lambda: with_bus(3, OnBus(leased=True)), ["3 has an owner, but there is no such call"]),
    (
        lambda: replace(HEALTHY, processes=[InProcess({1: OPEN}, []), InProcess({1: OPEN}, [])]),
        ["1 is managed by 2 processes"],
    ),
    (lambda: replace(HEALTHY, processes=[InProcess({2: ENDED}, [])]), ["2 is managed, but it is over"]),
    (
        lambda: replace(HEALTHY, processes=[InProcess({}, [(2, 13), (3, 1)])]),
        ["2 has a socket of user 13, but it is over", "3 has a socket of user 1, but it is over"],
    ),
]


@pytest.mark.parametrize(("facts", "found"), FINDINGS)
def test_finds(facts: Callable[[], Facts], found: list[str]) -> None:
    assert texts(examine(facts(), RULES)) == found


def test_only_what_is_found_twice_is_wrong() -> None:
    one, two, three = (Finding(1, text) for text in ("a", "b", "c"))
    assert lasting([one, two], [two, three]) == [two]


async def test_looks_at_all_calls_on_the_bus() -> None:
    bus = MemoryBus(MemoryHub(), SystemClock())
    await bus.start()
    record = Record(FENCE, OPEN)
    lease = await bus.acquire(call_group(1), 3.0)
    assert lease is not None
    assert await lease.put(STATE_KEY, encode_record(record), STATE_TTL)
    await bus.open_mailbox(Address(call_group(1), MANAGER), ttl=INBOX_TTL, create=True)
    await bus.open_mailbox(Address(call_group(22), seat_name(5)), ttl=SEAT_TTL, create=True)
    await bus.open_mailbox(Address("user:1", "phone"), ttl=SEAT_TTL, create=True)
    for number, rubbish in enumerate((b"", b"{}", b"[1]", b'{"owed":1}'), 30):
        await bus.put(call_group(number), STATE_KEY, rubbish, STATE_TTL)

    assert await look_at_bus(bus) == {
        1: OnBus(True, frozenset({MANAGER}), frozenset({STATE_KEY}), record),
        22: OnBus(False, frozenset({"5"})),
        **{number: OnBus(keys=frozenset({STATE_KEY})) for number in range(30, 34)},
    }
    await bus.close()
