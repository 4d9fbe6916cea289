"""Any interleaving of sends, changes and lost connections leaves every device with exactly the server's history."""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from enum import Enum, auto
from functools import partial
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.e2e.shapes import content
from tests.support.account import Account
from tests.support.api import Refused
from tests.support.cluster import Cluster
from tests.support.frontend import FrontendClient


class Step(Enum):
    SEND = auto()
    SEND_IMAGE = auto()
    FILL_IMAGE = auto()
    REVOKE = auto()
    RETRY = auto()
    DROP = auto()
    LEAVE = auto()
    COME_BACK = auto()
    NEW_SESSION = auto()
    OTHER_SERVER = auto()


Plan = list[list[tuple[Step, int]]]
"""Batches of steps; those of one batch are taken at the same time. The number says who or which."""

plans = st.lists(
    st.lists(st.tuples(st.sampled_from(Step), st.integers(0, 7)), min_size=1, max_size=5), min_size=1, max_size=12
)


@pytest.mark.timeout(300)
def test_every_device_ends_with_exactly_the_servers_history(cluster: Cluster) -> None:
    @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(plan=plans)
    def play(plan: Plan) -> None:
        asyncio.run(_play(cluster, plan))

    play()


async def _play(cluster: Cluster, plan: Plan) -> None:
    async with aiohttp.ClientSession() as http, AsyncExitStack() as stack:
        here, there = cluster.bases[0], cluster.bases[-1]
        people = [await Account.register(http, here), await Account.register(http, there)]
        await people[0].befriend(people[1])
        play = Play(cluster, people, [await people[0].contact_id(people[1]), await people[1].contact_id(people[0])])
        for person in (*people, *people):
            play.devices.append(await stack.enter_async_context(person.frontend(retry=0.0)))
        for batch in plan:
            await asyncio.gather(*(play.step(step, number) for step, number in batch))
        await play.check()


class Play:
    """Two people with two devices each."""

    def __init__(self, cluster: Cluster, people: list[Account], contact_ids: list[int]) -> None:
        self.cluster = cluster
        self.people = people
        self.contact_ids = contact_ids
        self.devices: list[FrontendClient] = []
        self.sent: list[tuple[int, dict[str, Any]]] = []

    async def step(self, step: Step, number: int) -> None:
        who = number % 2
        device = self.devices[number % 4]
        api, contact_id = self.people[who].api, self.contact_ids[who]
        match step:
            case Step.SEND:
                text = f"{len(self.sent)} of {who}"
                self.sent.append((who, await api.send(contact_id, text, local_id=text)))
            case Step.SEND_IMAGE:
                self.sent.append((who, await api.send(contact_id, thumbnail="file/t")))
            case Step.FILL_IMAGE if self.sent:
                sender, message = self.sent[-1 - number % len(self.sent)]
                await _may_be_refused(self.people[sender].api.fill_image(message["messageId"], f"file/{number}"))
            case Step.REVOKE if self.sent:
                sender, message = self.sent[-1 - number % len(self.sent)]
                await _may_be_refused(self.people[sender].api.revoke(message["messageId"]))
            case Step.RETRY if self.sent:
                sender, message = self.sent[-1 - number % len(self.sent)]
                if message["localId"]:
                    again = await self.people[sender].api.send(
                        self.contact_ids[sender], message["text"], local_id=message["localId"]
                    )
                    assert again["messageId"] == message["messageId"]
            case Step.DROP:
                await device.drop()
            case Step.LEAVE:
                device.stay_away = True
                await device.drop()
            case Step.COME_BACK:
                device.stay_away = False
            case Step.NEW_SESSION:
                device.forget_session()
                await device.drop()
            case Step.OTHER_SERVER:
                device.api = device.api.at(self.cluster.bases[number % len(self.cluster.bases)])
                await device.drop()

    async def check(self) -> None:
        for number, device in enumerate(self.devices):
            device.stay_away = False
            person, contact_id = self.people[number % 2], self.contact_ids[number % 2]
            history = [content(message) for message in await person.api.whole_history(contact_id)]
            agrees = partial(_shows, device, history)
            await device.wait_until(agrees, f"the {len(history)} messages of the history")


def _shows(device: FrontendClient, history: list[dict[str, Any]]) -> bool:
    return [content(message) for _, message in sorted(device.messages.items())] == history


async def _may_be_refused(call: Coroutine[Any, Any, None]) -> None:
    try:
        await call
    except Refused as refused:
        assert refused.code == 403, refused
