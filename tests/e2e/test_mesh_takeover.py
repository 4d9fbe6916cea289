"""The media of a call goes on, and the call with it, whatever becomes of the process that owns it."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from tests.participant.gathering import company, hear_and_see_each_other, meet
from tests.participant.mesh import MeshPage
from tests.participant.person import Person
from tests.participant.pulse import Pulse
from tests.support.call import Reason, State
from tests.support.calling import assert_healthy
from tests.support.cluster import Cluster
from tests.support.notification import PATIENCE
from tests.support.register import Register

JITTER = 1.0
"""Seconds without sound or picture that nobody takes for an interruption."""


def on(backend: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("own_cluster", [backend], indirect=True)


@asynccontextmanager
async def uninterrupted(pages: Sequence[MeshPage]) -> AsyncIterator[None]:
    """Meanwhile everybody hears and sees everybody, and nobody is shown as dead."""
    await hear_and_see_each_other(pages)
    async with Pulse() as pulse:
        since = time.monotonic()
        yield
        await hear_and_see_each_other(pages)
        until = time.monotonic()
    for page in pages:
        for user_id, impression in page.impressions.items():
            for record in (impression.ear.record, impression.eye.record):
                silence = max(end - start - pulse.late(start, end) for start, end in record.gaps(since, until))
                assert silence <= JITTER, (page.user_id, user_id, record.between(since, until))
            assert impression.trouble() == "", (page.user_id, user_id)
            assert State.DEAD not in page.seen(user_id)
        assert set(page.states.values()) == {State.ONLINE}


async def wait_until_taken_over(person: Person) -> None:
    async with asyncio.timeout(PATIENCE):
        while not any(event["event"] == "taken-over" for event in await person.calls.timeline(person.page.call_id)):
            await asyncio.sleep(0.05)


async def wait_until_back(person: Person, pages: Sequence[MeshPage]) -> None:
    """Returns once the person's second socket is up and the others see that."""
    await person.page.wait_until(lambda: person.page.connections == 2, "the second connection")
    for page in pages:
        await page.wait_for_state(person.user_id, State.ONLINE)


async def leave(people: Sequence[Person], cluster: Cluster) -> None:
    """All hang up but the last, for whom the call is over then. Nothing of it is left behind."""
    for person in people[:-1]:
        await person.hang_up()
    for person in people:
        assert await person.page.wait_over() is Reason.NORMAL
    await assert_healthy(cluster)


@on("shared")
async def test_the_owner_is_killed(own_cluster: Cluster, register_own: Register) -> None:
    """Ann called from the process that dies; the sockets of Ben and Cleo are on the other one."""
    doomed, living = own_cluster.servers
    async with company(register_own, [0, 1, 1]) as people:
        ann, ben, cleo = people
        pages = await meet(*people)
        async with uninterrupted(pages):
            doomed.kill()
            ann.move_to(living.base)
            await ben.page.renegotiate(cleo.user_id)  # asks nobody who owns the call
            await wait_until_taken_over(ben)
            await wait_until_back(ann, pages)
            await ann.page.renegotiate(ben.user_id)
            await cleo.page.renegotiate(ann.user_id)
        assert [page.connections for page in pages] == [2, 1, 1]
        await leave(people, own_cluster)


@on("embedded")
async def test_the_only_process_is_killed_and_comes_back(own_cluster: Cluster, register_own: Register) -> None:
    (server,) = own_cluster.servers
    async with company(register_own, [0, 0]) as people:
        ann, ben = people
        pages = await meet(*people)
        async with uninterrupted(pages):
            server.kill()
            await server.start()
            await wait_until_taken_over(ben)
            for person in people:
                await wait_until_back(person, pages)
            await ann.page.renegotiate(ben.user_id)
            await ben.page.renegotiate(ann.user_id)
        await leave(people, own_cluster)
