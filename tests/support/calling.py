"""People who call each other, and the check that nothing of their calls is left behind."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from server.config.sources import load
from server.doctor import diagnose
from tests.support.account import Account
from tests.support.call import CallsApi, State, Status
from tests.support.call_page import CallPage, wait_for_status
from tests.support.cluster import Cluster
from tests.support.notification import PATIENCE, Kind, Notification, NotificationSocket
from tests.support.register import Register
from tests.support.server import ServerProcess

HEALING = 90.0
"""Seconds within which everything left behind by the dead has run out."""


@dataclass(frozen=True, slots=True)
class Room:
    """People with a contact that is theirs together. `contact_ids`: each one's own contact, by user."""

    people: Sequence[Account]
    contact_ids: dict[int, int]

    async def call(self, caller: Account, *callees: Account) -> int:
        """The id of a new call."""
        user_ids = [callee.user_id for callee in callees]
        return await CallsApi(caller.api).create(self.contact_ids[caller.user_id], user_ids)

    async def ready_call(self, caller: Account, *callees: Account) -> int:
        """The id of a new call that is ready."""
        call_id = await self.call(caller, *callees)
        await wait_for_status(caller, call_id, Status.READY)
        return call_id


async def pair(register: Register) -> Room:
    """Two contacts, on two servers where there are two."""
    ann, ben = await register(), await register(server=1)
    return Room([ann, ben], {ann.user_id: await ann.befriend(ben), ben.user_id: await ben.contact_id(ann)})


async def group(register: Register, size: int) -> Room:
    """A group of so many, spread over the servers."""
    people = [await register(server=number) for number in range(size)]
    owner, *others = people
    await owner.api.make_group("friends", [await owner.befriend(other) for other in others])
    return Room(people, {one.user_id: int((await one.group_contact("friends"))["contactId"]) for one in people})


@asynccontextmanager
async def pages(call_id: int, *people: Account, **options: Any) -> AsyncIterator[list[CallPage]]:
    """They join one after the other; all are told that the call is active, and see each other online."""
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(CallPage(one, call_id, **options)) for one in people]
        for page in opened:
            await page.wait_started()
            for other in opened:
                await page.wait_for_state(other.user_id, State.ONLINE)
        yield opened


@asynccontextmanager
async def device(account: Account) -> AsyncIterator[NotificationSocket]:
    """A notification socket with a new session."""
    socket = await account.api.connect()
    await socket.opening()
    yield socket
    await socket.close()


async def told_of_call(socket: NotificationSocket, call_id: int, status: Status) -> list[Notification]:
    """The notifications of the call up to that it has come to `status`."""
    told: list[Notification] = []
    async with asyncio.timeout(PATIENCE):
        while True:
            notification = await socket.notification(None)
            if notification.kind is Kind.CALL_HANDLED:
                told.append(notification)
            elif notification.kind is Kind.MESSAGE and notification.payload["callId"] == call_id:
                told.append(notification)
                if notification.payload["call"]["status"] >= status:
                    return told


async def assert_healthy(cluster: Cluster, *, timeout: float = HEALING) -> None:
    """The doctor finds nothing, and no server has a call or a call socket in its memory that shouldn't be."""
    settings = load(environment=cluster.servers[0].environ).settings
    deadline = time.monotonic() + timeout
    while True:
        diagnosis = await diagnose(settings, pause=0.1)
        opened = sum(call.row.status < Status.END for call in diagnosis.facts.calls.values())
        managed, sockets = await _counts(cluster)
        wrong = [f"call {finding.call_id} {finding.text}" for finding in diagnosis.findings]
        if managed != opened:
            wrong.append(f"{opened} calls are open and {managed} managed")
        if sockets and not opened:
            wrong.append(f"{sockets} call sockets are open without a call")
        if not wrong:
            return
        assert time.monotonic() < deadline, wrong
        await asyncio.sleep(0.2)


async def _counts(cluster: Cluster) -> tuple[int, int]:
    """Calls managed and call sockets open, of all servers together."""
    counts = [await calls_and_sockets(server) for server in cluster.servers if server.running]
    return sum(managed for managed, _ in counts), sum(sockets for _, sockets in counts)


async def calls_and_sockets(server: ServerProcess) -> tuple[int, int]:
    """How many calls a server manages, and how many call sockets are open there, as its metrics tell."""
    async with aiohttp.ClientSession() as http, http.get(f"{server.base}/metrics") as got:
        metrics = dict(line.rsplit(" ", 1) for line in (await got.text()).splitlines() if line[:1] != "#")
    return int(float(metrics["ichat_calls_managed"])), int(float(metrics["ichat_call_sockets"]))
