"""Who manages a call: from its beginning over any number of owners to its end, and in what time."""

import asyncio

import pytest

from server.bus.interface import Post
from server.calls.codec import Asked, Said, encode_said
from server.calls.events import HangUp, Join
from server.calls.names import MANAGER, STATE_KEY, call_group, replies_address
from server.errors import ApiError, ErrorCode
from server.model.enums import CallStatus, EndReason, UserState
from server.wire.call import CallFrameType
from tests.calls.rig import TIMES, Client, Process, pause, processes
from tests.virtual import virtual

ANN, BEN, CLEO = 1, 2, 3


def owners(made: list[Process], call_id: int) -> list[Process]:
    return [process for process in made if process.alive and call_id in process.calls.managers]


def now() -> float:
    return asyncio.get_running_loop().time()


@virtual
async def test_a_call_begins_where_it_was_made() -> None:
    async with processes(3) as made:
        for process in made:
            call_id = await process.ready_call(ANN, BEN)
            assert owners(made, call_id) == [process]
            await process.hang_up(call_id, ANN)
            await pause()
            assert owners(made, call_id) == []
            assert made[0].world.hub.survey("call:") == []


@virtual
async def test_a_killed_owner_is_replaced_within_five_seconds() -> None:
    async with processes(3) as made:
        for offset in (0.0, 0.7, 1.9, 2.9):
            await asyncio.sleep(offset)
            victim = Process(made[0].world)
            await victim.start()
            call_id = await victim.ready_call(ANN, BEN)
            await victim.join(call_id, BEN)
            victim.kill()
            killed = now()
            while not owners(made, call_id):
                await asyncio.sleep(0.01)
            assert now() - killed < 5.0
            (owner,) = owners(made, call_id)
            assert owner.calls.managers[call_id].call.members[1].state is UserState.ACCEPTED
            await made[1].hang_up(call_id, ANN)
            await pause()


@virtual
async def test_an_owner_that_stops_is_replaced_at_once() -> None:
    async with processes(3) as made:
        call_id = await made[0].ready_call(ANN, BEN)
        stopping = asyncio.create_task(made[0].stop())
        start = now()
        await made[1].join(call_id, BEN)
        await stopping
        while len(owners(made, call_id)) != 1:
            await asyncio.sleep(0.001)
        assert now() - start < 0.1
        assert made[0].world.hub.held_leases() == [call_group(call_id)]
        await made[1].hang_up(call_id, ANN)
        await pause()


@virtual
async def test_a_call_whose_maker_died_before_it_began_is_found() -> None:
    async with processes(2) as made:
        await pause(4.0)
        call = made[0].world.new_call(ANN, BEN)
        start = now()
        while not owners(made, call.call_id):
            await asyncio.sleep(0.01)
        assert 1.0 < now() - start < 7.0  # seen twice: its maker might only be slow
        await made[0].hang_up(call.call_id, ANN)
        await pause()


@virtual
async def test_a_process_that_starts_takes_what_nobody_has() -> None:
    async with processes(1) as made:
        call_id = await made[0].ready_call(ANN, BEN)
        made[0].kill()
        await pause(10.0)
        made[0].world.hub.flush()
        late = Process(made[0].world)
        await late.start()
        await pause()
        assert call_id in late.calls.managers
        await late.hang_up(call_id, BEN)
        assert late.world.state(call_id).reason is EndReason.REJECTED
        await late.stop()


@virtual
async def test_the_next_owner_carries_out_what_the_last_one_owed() -> None:
    """It died after it had written the change and before anybody had heard of it."""
    async with processes(2) as (victim, heir):
        call_id = await victim.ready_call(ANN, BEN)
        await victim.join(call_id, ANN)
        ann = Client(heir, call_id, ANN)
        await pause()
        victim.told.clear()
        victim.delays.hold("post")
        asked = asyncio.create_task(heir.hang_up(call_id, BEN))
        await pause()
        assert heir.world.state(call_id).status is CallStatus.END
        await asked  # granted, as it shows by the call's end
        assert victim.told == []
        victim.kill()
        await pause(5.0)
        assert ann.frames[-1] == (CallFrameType.ENDED, f"{EndReason.REJECTED}")
        assert heir.told == [("handled", BEN, call_id), ("END", ANN, call_id), ("END", BEN, call_id)]
        assert victim.told == []
        assert heir.world.hub.survey("call:") == []


@virtual
async def test_who_leaves_in_the_moment_of_the_end_is_answered_at_once() -> None:
    async with processes(2) as (here, there):
        loop = asyncio.get_running_loop()
        for delay in (0.0, 0.001, 0.002, 0.004):
            call_id = await here.ready_call(ANN, BEN)
            await here.join(call_id, ANN)

            async def late(call_id: int = call_id, delay: float = delay) -> None:
                await asyncio.sleep(delay)
                await there.hang_up(call_id, BEN)

            start = loop.time()
            answers = await asyncio.gather(here.hang_up(call_id, ANN), late(), return_exceptions=True)
            assert loop.time() - start < 0.2
            assert not any(answers)


@virtual
async def test_a_state_that_can_not_be_read_is_taken_from_the_database() -> None:
    """And keeps nobody from the other calls."""
    async with processes(3) as (victim, *heirs):
        call_ids = [await victim.ready_call(ANN, BEN), await victim.ready_call(4, 5)]
        await victim.join(call_ids[0], ANN)
        for garbage in (b"{garbage", b"[]", b'{"fence":1}'):
            await victim.bus.put(call_group(call_ids[0]), STATE_KEY, garbage, 60.0)
        victim.kill()
        await pause(5.0)
        for call_id in call_ids:
            assert sum(call_id in heir.calls.managers for heir in heirs) == 1
        await heirs[0].join(call_ids[0], BEN)
        assert [member.state for member in heirs[0].world.state(call_ids[0]).members] == [UserState.ACCEPTED] * 2
        for call_id, caller in zip(call_ids, (ANN, 4), strict=True):
            await heirs[1].hang_up(call_id, caller)


@virtual
async def test_a_join_whose_person_was_told_that_it_failed_lets_the_phone_ring_on() -> None:
    async with processes(1) as (here,):
        call_id = await here.ready_call(ANN, BEN)
        for until, state in ((-1, UserState.INVITED), (1000, UserState.ACCEPTED)):
            asked = Asked(here.bus.process_id, 1, here.world.now() + until)
            await here.bus.post([Post(call_group(call_id), encode_said(Said(Join(BEN), asked)), MANAGER)])
            await pause()
            assert here.calls.managers[call_id].call.members[1].state is state
        await here.hang_up(call_id, ANN)


@virtual
async def test_nobody_hears_of_a_change_that_is_not_written() -> None:
    async with processes(2) as (owner, other):
        call_id = await owner.ready_call(ANN, BEN)
        await owner.join(call_id, ANN)
        ann = Client(other, call_id, ANN)
        await pause()
        frames = len(ann.frames)
        owner.told.clear()
        owner.delays.hold("lease_put")
        asked = asyncio.create_task(other.join(call_id, BEN))
        await pause(1.0)
        assert (asked.done(), len(ann.frames), owner.told) == (False, frames, [])
        owner.delays.let_go()
        await asked
        await pause()
        assert ann.seen(BEN)[-1] is UserState.ACCEPTED
        assert owner.told == [("handled", BEN, call_id)]


@virtual
async def test_an_owner_that_was_cut_off_lets_the_next_one_be() -> None:
    async with processes(2) as (first, second):
        call_id = await first.ready_call(ANN, BEN)
        first.bus.isolate()
        await pause(6.0)
        assert call_id in second.calls.managers
        await second.join(call_id, BEN)
        first.bus.heal()
        await pause(5.0)
        assert owners([first, second], call_id) == [second]
        await first.hang_up(call_id, ANN)
        await pause()
        assert first.world.hub.survey("call:") == []


@virtual
async def test_a_superseded_owner_takes_back_what_it_put_on_a_bus_that_forgot() -> None:
    """The call went on elsewhere, and has ended, while it was cut off."""
    async with processes(2) as (first, second):
        call_id = await first.ready_call(ANN, BEN)
        await first.join(call_id, BEN)
        ben = Client(first, call_id, BEN)
        await pause(0.5)
        first.bus.isolate()
        first.world.hub.flush()
        await pause(1.0)
        await second.hang_up(call_id, ANN)
        await pause()
        assert first.world.hub.survey("call:") == []
        first.bus.heal()
        await pause(70.0)
        assert owners([first, second], call_id) == []
        assert first.world.hub.survey("call:") == []
        assert first.world.state(call_id).reason is EndReason.CANCELLED
        assert ben.frames[-1] == (CallFrameType.ENDED, f"{EndReason.CANCELLED}")


@virtual
async def test_what_cannot_be_read_stops_neither_a_manager_nor_who_asks_it() -> None:
    async with processes(1) as (here,):
        call_id = await here.ready_call(ANN, BEN)
        for rubbish in (b"", b"x", b"[]", b'["join"]', b'["join",[1,2,3,4],null]', b'["nothing",[1],null]', b"{}"):
            assert await here.bus.post([Post(call_group(call_id), rubbish, MANAGER)]) == [1]
        answers = replies_address(here.bus.process_id)
        for rubbish in (b"", b"[]", b'[1,"NO_SUCH_CODE"]', b"{}", b"[1,null]"):
            assert await here.bus.post([Post(answers.group, rubbish, answers.name)]) == [1]
        await here.join(call_id, BEN)
        assert here.world.state(call_id).members[1].state is UserState.ACCEPTED
        await here.hang_up(call_id, ANN)
        await pause()


@virtual
async def test_a_question_that_nobody_answers_is_told_so_in_time() -> None:
    async with processes(1) as (here,):
        call_id = await here.ready_call(ANN, BEN)
        here.bus.isolate()
        start = now()
        for event in (Join(BEN), HangUp(BEN)):
            try:
                await here.calls.ask(call_id, event)
            except ApiError as error:
                assert error.code is ErrorCode.CALL_MANAGER_GONE
            else:
                raise AssertionError("answered by nobody")
        assert now() - start == pytest.approx(2 * TIMES.answer)
        here.bus.heal()
        await pause(5.0)
        await here.hang_up(call_id, ANN)


@virtual
async def test_a_question_about_a_call_that_is_over_needs_no_manager() -> None:
    async with processes(2) as (here, there):
        call_id = await here.ready_call(ANN, BEN)
        await here.hang_up(call_id, ANN)
        await pause()
        await there.hang_up(call_id, BEN)
        try:
            await there.join(call_id, BEN)
        except ApiError as error:
            assert error.code is ErrorCode.CALL_ENDED
        else:
            raise AssertionError("joined a call that is over")


@virtual
async def test_a_socket_that_went_without_a_word_is_noticed() -> None:
    """Its process was killed: its mailbox runs out, then its user is offline, then lost."""
    async with processes(2) as (here, there):
        call_id = await here.ready_call(ANN, BEN)
        await here.join(call_id, ANN, BEN)
        ann, ben = Client(here, call_id, ANN), Client(there, call_id, BEN)
        await pause()
        assert ann.seen(BEN)[-1] is UserState.ONLINE
        there.kill()
        ben.open = False
        killed = now()
        while ann.seen(BEN)[-1] is UserState.ONLINE:
            await asyncio.sleep(0.1)
        assert now() - killed < 50.0
        assert ann.seen(BEN)[-1] is UserState.OFFLINE
        while CallFrameType.ENDED not in ann.kinds:
            await asyncio.sleep(0.1)
        assert now() - killed < 85.0
        assert ann.frames[-1] == (CallFrameType.ENDED, f"{EndReason.LOST}")
        await pause()
        assert here.world.hub.survey("call:") == []
