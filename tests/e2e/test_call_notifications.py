"""What notification sockets tell of calls: every change of the status to every member, and what stops the ringing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial

import pytest

from tests.e2e.shapes import NOTIFIED_MESSAGE, assert_shape
from tests.support.call import CallsApi, Reason, Status
from tests.support.call_page import CallPage, wait_for_status
from tests.support.calling import assert_healthy, device, group, pages, pair, told_of_call
from tests.support.cluster import Cluster
from tests.support.frontend import FrontendClient
from tests.support.notification import Kind, Notification
from tests.support.register import Register


@pytest.fixture(autouse=True)
async def _healthy(cluster: Cluster) -> AsyncIterator[None]:
    yield
    await assert_healthy(cluster)


def changes(told: list[Notification]) -> list[tuple[Status, bool, bool]]:
    """(status, handled, isNew) of each message, in order; repetitions left out."""
    seen: list[tuple[Status, bool, bool]] = []
    for notification in told:
        if notification.kind is Kind.MESSAGE:
            payload = notification.payload
            change = (Status(payload["call"]["status"]), payload["call"]["handled"], payload["isNew"])
            if not seen or seen[-1] != change:
                seen.append(change)
    return seen


def handled(told: list[Notification]) -> list[int]:
    return [notification.payload for notification in told if notification.kind is Kind.CALL_HANDLED]


async def test_every_change_reaches_every_member(register: Register) -> None:
    room = await pair(register)
    ann, ben = room.people
    async with device(ann) as anns, device(ben) as bens:
        call_id = await room.ready_call(ann, ben)
        async with pages(call_id, ann, ben) as (page, _):
            await page.hang_up()
        for socket in (anns, bens):
            told = await told_of_call(socket, call_id, Status.END)
            messages = [one.payload for one in told if one.kind is Kind.MESSAGE]
            assert_shape(NOTIFIED_MESSAGE, *messages)
            assert changes(told) == [
                (Status.NEW, False, True),
                (Status.READY, False, False),
                (Status.ACTIVE, True, False),
                (Status.END, True, False),
            ]
            assert {message["messageId"] for message in messages} == {messages[0]["messageId"]}
            assert messages[-1]["call"]["endReason"] == Reason.NORMAL
            ids = [message["deliveryId"] for message in messages]
            assert ids == sorted(ids)
            call = await CallsApi(ann.api).get(call_id)
            assert messages[-1]["call"] == call | {"handled": True}


async def test_handled_is_as_each_member_has_it(register: Register) -> None:
    """Who has joined or hung up has handled the call; who only let it ring has not."""
    room = await group(register, 4)
    ann, ben, cleo, dan = room.people
    async with AsyncExitStack() as stack:
        devices = [await stack.enter_async_context(device(one)) for one in room.people]
        call_id = await room.ready_call(ann, ben, cleo, dan)
        await CallsApi(cleo.api).hang_up(call_id)
        async with pages(call_id, ann, ben) as (anns, bens):
            await anns.hang_up()
            await bens.hang_up()
        told = [await told_of_call(socket, call_id, Status.END) for socket in devices]
        ready = {change for each in told for change in changes(each)[:2]}
        assert ready == {(Status.NEW, False, True), (Status.READY, False, False)}
        at_the_end = [changes(each)[-1] for each in told]
        assert at_the_end == [(Status.END, one is not dan, False) for one in room.people]
        assert [handled(each) for each in told] == [[call_id], [call_id], [call_id], []]


async def test_members_of_the_group_who_are_not_called_see_the_message(register: Register) -> None:
    room = await group(register, 3)
    ann, ben, cleo = room.people
    async with device(cleo) as cleos:
        call_id = await room.ready_call(ann, ben)
        await CallsApi(ann.api).hang_up(call_id)
        told = await told_of_call(cleos, call_id, Status.END)
        assert changes(told) == [
            (Status.NEW, False, True),
            (Status.READY, False, False),
            (Status.END, False, False),
        ]
        assert handled(told) == []


async def test_all_devices_of_a_user_stop_ringing(register: Register, cluster: Cluster) -> None:
    """By the first join or hang-up, of whichever device; a second one tells nobody anything."""
    room = await pair(register)
    ann, ben = room.people
    bens = [ben, await ben.log_in(cluster.bases[0]), await ben.log_in(cluster.bases[-1])]
    anns = [ann, await ann.log_in(cluster.bases[-1])]
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(device(one)) for one in (*anns, *bens)]
        for joins in (True, False):
            call_id = await room.ready_call(ann, ben)
            if joins:
                await CallsApi(bens[1].api).join(call_id)
                await CallsApi(bens[2].api).join(call_id)
            else:
                await CallsApi(bens[1].api).hang_up(call_id)
            if joins:
                await CallsApi(ann.api).join(call_id)
                await CallsApi(ben.api).hang_up(call_id)
            for number, socket in enumerate(sockets):
                told = await told_of_call(socket, call_id, Status.END)
                if not joins and number < len(anns):
                    assert handled(told) == []  # the caller did nothing
                else:
                    assert handled(told) == [call_id]


async def test_a_call_that_ends_as_busy_is_told_to_both(register: Register) -> None:
    """Two call the same one at the same moment: one of them gets through."""
    room = await group(register, 3)
    ann, ben, cleo = room.people
    async with device(ann) as anns, device(ben) as bens, device(cleo) as cleos:
        for _ in range(10):
            ids = await asyncio.gather(room.call(ann, cleo), room.call(ben, cleo), return_exceptions=True)
            made = {one: call_id for one, call_id in zip((ann, ben), ids, strict=True) if isinstance(call_id, int)}
            for caller, socket in ((ann, anns), (ben, bens)):
                if caller not in made:
                    continue
                call_id = made[caller]
                told = await told_of_call(socket, call_id, Status.READY)
                if told[-1].payload["call"]["status"] == Status.READY:
                    await CallsApi(caller.api).hang_up(call_id)
                    continue
                assert told[-1].payload["call"]["endReason"] == Reason.BUSY
                assert changes(told) == [(Status.NEW, False, True), (Status.END, False, False)]
                at_callee = await told_of_call(cleos, call_id, Status.END)
                assert changes(at_callee) == [(Status.NEW, False, True), (Status.END, False, False)]
            for call_id in made.values():
                await wait_for_status(cleo, call_id, Status.END)


def _shows(frontend: FrontendClient, call_id: int, status: Status) -> bool:
    return any(
        message["callId"] == call_id and message["call"]["status"] == status for message in frontend.messages.values()
    )


async def test_what_was_told_while_a_device_was_away_comes_with_the_resume(register: Register) -> None:
    room = await pair(register)
    ann, ben = room.people
    async with ben.frontend() as bens:
        bens.stay_away = True
        await bens.drop()
        call_id = await room.ready_call(ann, ben)
        bens.stay_away = False
        await bens.wait_until(partial(_shows, bens, call_id, Status.READY), "the call")
        await CallsApi(ben.api).hang_up(call_id)
        await bens.wait_until(partial(_shows, bens, call_id, Status.END), "its end")
        assert bens.handled_calls == [call_id]


async def test_a_device_that_comes_later_finds_the_call_by_a_sync(register: Register) -> None:
    room = await pair(register)
    ann, ben = room.people
    async with ben.frontend(last=0) as first:
        call_id = await room.ready_call(ann, ben)
        await first.wait_until(partial(_shows, first, call_id, Status.READY), "the call")
    async with CallPage(ann, call_id) as anns, ben.frontend(last=0) as later:
        await later.wait_until(partial(_shows, later, call_id, Status.READY), "the call")
        await anns.hang_up()
        await later.wait_until(partial(_shows, later, call_id, Status.END), "its end")
