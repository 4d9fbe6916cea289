"""Compares what the database, the bus and processes say of calls, and lists what doesn't agree.

`look` gathers facts and `examine` judges them. While calls go on something is always on its way from one to the
other, so only what is found twice, some seconds apart, is wrong (`lasting`).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from server.bus.interface import Bus
from server.calls.codec import Record, Unreadable, decode_record
from server.calls.names import CALL_PREFIX, INBOX_TTL, MANAGER, STATE_KEY, call_of, seat_name
from server.calls.state import CallState, Rules, is_durable, next_deadline
from server.clock import epoch_millis
from server.model.entities import Call
from server.model.enums import CallStatus, UserState

_OVERDUE = 30_000
"""Milliseconds after which a deadline that passed is overdue: until then its call may be on its way to a new owner."""

_LINGER = int((INBOX_TTL + 10.0) * 1000)
"""Milliseconds for which mailboxes whose readers are gone may outlive their call."""


class Finding(NamedTuple):
    """What is wrong with a call, for its operator."""

    call_id: int
    text: str


@dataclass(frozen=True, slots=True)
class InDatabase:
    """A call in the database. `record` is None for one that ended before this server's time, `listed` are those whose
    history has it, `message_call` is the call that its message names."""

    row: Call
    record: Record | None
    listed: frozenset[int]
    message_call: int


@dataclass(frozen=True, slots=True)
class OnBus:
    """What a call has on the bus. `record` is its state there, if it can be read."""

    leased: bool = False
    mailboxes: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    record: Record | None = None


@dataclass(frozen=True, slots=True)
class InProcess:
    """What a process has in its memory: the calls that it manages, and (call, user) of each open socket."""

    managed: Mapping[int, CallState]
    seats: Collection[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Facts:
    """`now` is in milliseconds since 1970; `reserved` tells the call of each user who is in one. `bus` is None where it
    can't be looked at."""

    now: int
    calls: Mapping[int, InDatabase]
    reserved: Mapping[int, int]
    bus: Mapping[int, OnBus] | None = None
    processes: Collection[InProcess] = ()


async def look_at_bus(bus: Bus) -> dict[int, OnBus]:
    """Raises BusUnavailable."""
    found: dict[int, OnBus] = {}
    for held in await bus.survey(CALL_PREFIX):
        data = await bus.get(held.group, STATE_KEY) if STATE_KEY in held.keys else None
        found[call_of(held.group)] = OnBus(held.leased, held.mailboxes, held.keys, _record(data))
    return found


def _record(data: bytes | None) -> Record | None:
    try:
        return None if data is None else decode_record(data)
    except Unreadable:
        return None


def lasting(before: Iterable[Finding], after: Iterable[Finding]) -> list[Finding]:
    """What was found in both of two looks."""
    known = set(before)
    return [finding for finding in after if finding in known]


def examine(facts: Facts, rules: Rules) -> list[Finding]:
    """What doesn't agree, by call."""
    found = {*_reservations(facts), *_rows(facts), *_times(facts, rules), *_bus(facts), *_processes(facts)}
    return sorted(found)


def _reservations(facts: Facts) -> Iterator[Finding]:
    """A user is reserved by an open call that has the user in it, and nobody else is."""
    for user_id, call_id in facts.reserved.items():
        call = facts.calls.get(call_id)
        if call is None:
            yield Finding(call_id, f"reserves user {user_id}, but there is no such call")
        elif call.row.status is CallStatus.END:
            yield Finding(call_id, f"reserves user {user_id}, but it has ended")
        elif call.record is not None and user_id not in call.record.call.reserved:
            yield Finding(call_id, f"reserves user {user_id}, who isn't in it")
    for call_id, call in facts.calls.items():
        if call.record is not None:
            for user_id in call.record.call.reserved:
                if facts.reserved.get(user_id) != call_id:
                    yield Finding(call_id, f"has user {user_id} in it without a reservation")


def _rows(facts: Facts) -> Iterator[Finding]:
    """A call's row, its state, its message and its members' histories tell the same."""
    for call_id, call in facts.calls.items():
        row = call.row
        for user_id in call.listed - set(row.members):
            yield Finding(call_id, f"is in the history of user {user_id}, who isn't a member")
        for user_id in set(row.members) - call.listed:
            yield Finding(call_id, f"isn't in the history of user {user_id}, who is a member")
        if call.message_call != call_id:
            yield Finding(call_id, f"its message {row.message_id} is of call {call.message_call}")
        if call.record is None:
            continue
        state = call.record.call
        for what, in_row, in_state in (
            ("status", row.status.name, state.status.name),
            ("end reason", row.end_reason.name, state.reason.name),
            ("start", row.start_time is not None, bool(state.started)),
            ("end", row.end_time is not None, bool(state.ended)),
            ("handled", sorted(row.handled_by), sorted(state.handled)),
            ("members", list(row.members), [member.user_id for member in state.members]),
        ):
            if in_row != in_state:
                yield Finding(call_id, f"its row says of its {what} {in_row}, its state {in_state}")


def _times(facts: Facts, rules: Rules) -> Iterator[Finding]:
    """No call stays open that time should have ended, or that nobody is left in."""
    for call_id, state in _states(facts).items():
        if not state.open:
            continue
        alive = sum(member.alive for member in state.members)
        if alive < 2:
            yield Finding(call_id, f"is open with {alive} left in it")
        due = next_deadline(state, rules)
        if due is not None and due + _OVERDUE < facts.now:
            yield Finding(call_id, "is open though its time is over: nobody sees to it")


def _states(facts: Facts) -> dict[int, CallState]:
    """Each call's latest state."""
    states: dict[int, CallState] = {}
    for call_id, call in facts.calls.items():
        on_bus = (facts.bus or {}).get(call_id, OnBus()).record
        records = [record for record in (call.record, on_bus) if record is not None]
        if records:
            states[call_id] = max(records, key=lambda record: record.order).call
    return states


def _bus(facts: Facts) -> Iterator[Finding]:
    """An open call has an owner, a state and an inbox, and its people have sockets; any other has nothing."""
    if facts.bus is None:
        return
    for call_id in {*facts.calls, *facts.bus}:
        call, held = facts.calls.get(call_id), facts.bus.get(call_id, OnBus())
        if call is None:
            yield from _left(call_id, held, "there is no such call")
        elif call.row.status is CallStatus.END:
            if call.row.end_time is not None and epoch_millis(call.row.end_time) + _LINGER > facts.now:
                held = replace(held, mailboxes=frozenset())
            yield from _left(call_id, held, "it has ended")
        else:
            yield from _open_on_bus(call_id, call, held)


def _left(call_id: int, held: OnBus, why: str) -> Iterator[Finding]:
    if held.leased:
        yield Finding(call_id, f"has an owner, but {why}")
    for key in held.keys:
        yield Finding(call_id, f"has a key on the bus, {key}, but {why}")
    for name in held.mailboxes:
        yield Finding(call_id, f"has a mailbox, {name}, but {why}")


def _open_on_bus(call_id: int, call: InDatabase, held: OnBus) -> Iterator[Finding]:
    if not held.leased:
        yield Finding(call_id, "is open and has no owner")
    if MANAGER not in held.mailboxes:
        yield Finding(call_id, "is open and its manager has no mailbox")
    for name in held.mailboxes - {MANAGER} - {seat_name(user_id) for user_id in call.row.members}:
        yield Finding(call_id, f"has a mailbox, {name}, that is no member's")
    if held.record is None:
        yield Finding(call_id, "is open and has no state on the bus that can be read")
        return
    state = held.record.call
    for member in state.members:
        if member.state is UserState.ONLINE and seat_name(member.user_id) not in held.mailboxes:
            yield Finding(call_id, f"has user {member.user_id} online without a socket")
    if call.record is not None:
        if held.record.order < call.record.order:
            yield Finding(call_id, "its state on the bus is older than in the database")
        elif is_durable(call.record.call, state):
            yield Finding(call_id, "its state on the bus isn't in the database")


def _processes(facts: Facts) -> Iterator[Finding]:
    """One process manages an open call, with the state that the others see; nobody sits in one that is over."""
    owners: dict[int, int] = {}
    for process in facts.processes:
        for call_id, state in process.managed.items():
            owners[call_id] = owners.get(call_id, 0) + 1
            held = (facts.bus or {}).get(call_id, OnBus()).record
            if held is not None and held.call != state:
                yield Finding(call_id, "its manager has another state than the bus")
            if _is_over(facts, call_id):
                yield Finding(call_id, "is managed, but it is over")
        for call_id, user_id in process.seats:
            if _is_over(facts, call_id):
                yield Finding(call_id, f"has a socket of user {user_id}, but it is over")
    for call_id, count in owners.items():
        if count > 1:
            yield Finding(call_id, f"is managed by {count} processes")


def _is_over(facts: Facts, call_id: int) -> bool:
    call = facts.calls.get(call_id)
    return call is None or call.row.status is CallStatus.END
