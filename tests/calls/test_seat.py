"""Sockets in the moments that tests from outside can't hit: what overtakes what, comes twice, or is forgotten."""

import pytest

from server.calls.outlet import SeatOverloaded
from server.model.enums import EndReason, UserState
from server.wire.call import CallFrameType
from tests.calls.rig import Client, Process, pause, processes
from tests.virtual import virtual

ANN, BEN, CLEO = 1, 2, 3
STATES, STATE = CallFrameType.ALL_USER_STATES, CallFrameType.ONE_USER_STATE
STARTED, ENDED, UNAUTHORIZED = CallFrameType.STARTED, CallFrameType.ENDED, CallFrameType.UNAUTHORIZED
SIGNALING = CallFrameType.SIGNALING


async def both_online(process: Process, other: Process) -> tuple[int, Client, Client]:
    """A call of two: Ann at the one process, Ben at the other."""
    call_id = await process.ready_call(ANN, BEN)
    await process.join(call_id, ANN, BEN)
    ann, ben = Client(process, call_id, ANN), Client(other, call_id, BEN)
    await pause()
    assert STARTED in ann.kinds
    assert STARTED in ben.kinds
    return call_id, ann, ben


@virtual
async def test_a_socket_whose_news_come_too_late_is_told_the_end() -> None:
    async with processes(2) as (here, there):
        call_id = await here.ready_call(ANN, BEN)
        await here.join(call_id, BEN)
        there.delays.hold("post")
        ben = Client(there, call_id, BEN)
        await pause()
        assert ben.kinds == [STATES]
        await here.hang_up(call_id, ANN)
        await pause()
        assert ben.frames[1:] == [
            (STATE, f'{{"userId":{ANN},"state":{UserState.REJECTED},"ping":-2}}'),
            (ENDED, f"{EndReason.CANCELLED}"),
        ]


@virtual
async def test_a_hang_up_that_overtakes_the_news_of_a_socket_ends_it() -> None:
    async with processes(2) as (here, there):
        call_id = await here.ready_call(ANN, BEN, CLEO)
        await here.join(call_id, ANN, BEN, CLEO)
        ann, cleo = Client(here, call_id, ANN), Client(here, call_id, CLEO)
        await pause()
        there.delays.hold("post")
        ben = Client(there, call_id, BEN)
        await pause()
        await here.hang_up(call_id, BEN)
        there.delays.let_go()
        await pause()
        assert ben.frames[1:][-1] == (ENDED, f"{EndReason.NORMAL}")
        for other in (ann, cleo):
            assert UserState.ONLINE not in other.seen(BEN)
            assert other.seen(BEN)[-1] is UserState.DEAD
        assert BEN not in here.world.database.reservations


@virtual
async def test_what_a_socket_says_before_it_is_known_is_heard_after_the_news_of_it() -> None:
    async with processes(2) as (here, there):
        call_id = await here.ready_call(ANN, BEN)
        await here.join(call_id, ANN, BEN)
        ann = Client(here, call_id, ANN)
        await pause()
        there.delays.hold("get")
        ben = Client(there, call_id, BEN)
        ben.say(ann, "before it is let in")
        await pause()
        there.delays.hold("post")
        await pause()
        ben.say(ann, "before the manager knows")
        await pause()
        assert ann.heard(ben) == []
        there.delays.let_go()
        await pause()
        ben.say(ann, "afterwards")
        await pause()
        assert ann.heard(ben) == ["before it is let in", "before the manager knows", "afterwards"]
        online = ann.frames.index((STATE, '{"userId":2,"state":4,"ping":-2}'))
        assert online < ann.kinds.index(SIGNALING)


@virtual
async def test_what_arrives_twice_is_shown_once() -> None:
    async with processes(2) as (here, there):
        here.delays.repeat = there.delays.repeat = 2
        _, ann, ben = await both_online(here, there)
        for number in range(5):
            ann.say(ben, f"{number}")
        await pause()
        assert ben.heard(ann) == [f"{number}" for number in range(5)]
        assert ben.kinds.count(STARTED) == 1
        assert ann.seen(BEN) == [UserState.ACCEPTED, UserState.ONLINE]


@virtual
async def test_what_a_client_has_not_confirmed_comes_again_on_the_next_socket_of_its_page() -> None:
    async with processes(2) as (here, there):
        call_id, ann, ben = await both_online(here, there)
        ann.say(ben, "has arrived")
        await pause()
        ben.there = False  # its connection is half open
        ann.say(ben, "is lost on the way")
        await pause()
        again = Client(here, call_id, BEN)
        await pause()
        assert again.heard(ann) == ["is lost on the way"]
        assert again.kinds[:2] == [STATES, STARTED]
        assert ben.kinds[-1] is UNAUTHORIZED
        await pause()
        another = Client(here, call_id, BEN, page="another")
        ann.say(another, "to the other page")
        await pause()
        assert another.heard(ann) == ["to the other page"]


@virtual
async def test_a_page_does_not_get_what_waited_for_another() -> None:
    async with processes(1) as (here,):
        call_id, ann, ben = await both_online(here, here)
        await ben.close()
        await pause()
        ann.say(ben, "to the page that was there")
        await pause()
        another = Client(here, call_id, BEN, page="another")
        await pause()
        assert another.kinds == [STATES, STARTED]


@virtual
async def test_a_socket_goes_on_after_the_bus_forgot_it() -> None:
    async with processes(2) as (here, there):
        _, ann, ben = await both_online(here, there)
        for number in range(3):
            here.world.hub.flush()
            ann.say(ben, f"{number}")
            ben.say(ann, f"{number}")
            await pause(1.0)
        for one, other in ((ann, ben), (ben, ann)):
            assert one.heard(other) == ["0", "1", "2"]
            assert set(one.kinds[2:]) <= {STATES, STATE, STARTED, SIGNALING}
            assert set(one.seen(other.user_id)) <= {UserState.ACCEPTED, UserState.ONLINE}


@virtual
async def test_a_half_open_socket_does_not_take_the_mailbox_from_the_next_one() -> None:
    async with processes(2) as (here, there):
        call_id, ann, ben = await both_online(here, there)
        ben.there = False
        here.world.hub.flush()
        await pause()
        again = Client(here, call_id, BEN)
        await pause(5.0)
        ann.say(again, "hello again")
        await pause()
        assert again.heard(ann) == ["hello again"]
        assert UNAUTHORIZED not in again.kinds


@virtual
async def test_who_says_more_than_can_be_passed_on_must_go() -> None:
    async with processes(1) as (here,):
        _, ann, ben = await both_online(here, here)
        here.delays.hold("post")
        with pytest.raises(SeatOverloaded):
            for number in range(1_000):
                ann.say(ben, f"{number}")
        here.delays.let_go()
        await pause()
        assert ben.heard(ann) == [f"{number}" for number in range(100)]


@virtual
async def test_a_client_of_a_call_that_is_not_its_own_is_sent_away() -> None:
    async with processes(1) as (here,):
        call_id = await here.ready_call(ANN, BEN)
        for user_id, call in ((CLEO, call_id), (ANN, 999), (BEN, call_id)):
            client = Client(here, call, user_id)
            await pause()
            assert client.frames == [(UNAUTHORIZED, "")]


@virtual
async def test_a_seat_that_was_never_entered_can_be_left() -> None:
    async with processes(1) as (here,):
        here.delays.hold("open_mailbox")
        client = Client(here, 1, ANN)
        await pause()
        await client.close()
        assert list(here.calls.seats) == []
