"""The database is killed, stalled and locked while people chat."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

import aiohttp
import pytest

from tests.faults.chatter import Chatter, assert_nothing_lost, chatting
from tests.support.cluster import Cluster
from tests.support.frontend import FrontendClient
from tests.support.notification import PATIENCE
from tests.support.register import Register

ANSWER_LIMIT = 15.0
"""Seconds for any answer while the database is in trouble: its own time limits and a bounded number of tries."""


on_mariadb = pytest.mark.parametrize("_mortal", ["shared"], indirect=True)
on_sqlite = pytest.mark.parametrize("_mortal", ["embedded"], indirect=True)


@asynccontextmanager
async def conversation(register: Register, cluster: Cluster) -> AsyncIterator[tuple[Chatter, list[FrontendClient]]]:
    """Afterwards everything acknowledged must have reached the devices without a reconnection, nobody was logged
    out, and every failure was a clear one."""
    ann, ben = await register(), await register(server=1)
    chatter = Chatter(ann, await ann.befriend(ben), pause=0.01)
    async with AsyncExitStack() as stack:
        devices = [await stack.enter_async_context(ben.at(base).frontend()) for base in cluster.bases]
        async with chatting(chatter):
            await chatter.progress(20)
            yield chatter, devices
            await chatter.progress(20)
        await assert_nothing_lost(ben, [chatter], devices)
        assert {(refusal.code, refusal.http_status) for refusal in chatter.refusals} <= {(500, 503)}
        assert chatter.broken == 0
        assert chatter.slowest < ANSWER_LIMIT
        assert [device.closings for device in devices] == [[] for _ in devices]


async def assert_not_ready(http: aiohttp.ClientSession, cluster: Cluster) -> None:
    for base in cluster.bases:
        async with http.get(f"{base}/healthz") as alive, http.get(f"{base}/readyz") as ready:
            assert (alive.status, ready.status) == (200, 503)


async def refused_sends(chatter: Chatter, count: int) -> None:
    wanted = len(chatter.refusals) + count
    async with asyncio.timeout(60):
        while len(chatter.refusals) < wanted:
            await asyncio.sleep(0.05)


@on_mariadb
async def test_mariadb_killed_and_restarted(
    mortal: Cluster, register_mortal: Register, http: aiohttp.ClientSession
) -> None:
    async with conversation(register_mortal, mortal) as (chatter, _):
        for _ in range(2):
            await asyncio.to_thread(mortal.mariadb.kill)
            await refused_sends(chatter, 2)
            await assert_not_ready(http, mortal)
            await asyncio.to_thread(mortal.mariadb.start)
            await chatter.progress(20)


@on_mariadb
async def test_mariadb_restarted_in_order(mortal: Cluster, register_mortal: Register) -> None:
    async with conversation(register_mortal, mortal) as (chatter, _):
        await asyncio.to_thread(mortal.mariadb.stop)
        await asyncio.to_thread(mortal.mariadb.start)
        await chatter.progress(20)


@on_mariadb
async def test_mariadb_stalled(mortal: Cluster, register_mortal: Register) -> None:
    async with conversation(register_mortal, mortal) as (chatter, _):
        mortal.mariadb.stall()
        await refused_sends(chatter, 2)
        mortal.mariadb.resume()
        await chatter.progress(20)


@on_mariadb
async def test_who_connects_while_mariadb_is_away_is_let_in_afterwards(
    mortal: Cluster, register_mortal: Register
) -> None:
    ann, ben = await register_mortal(), await register_mortal(server=1)
    sent = await ann.api.send(await ann.befriend(ben), "before")
    await asyncio.to_thread(mortal.mariadb.kill)
    device = ben.frontend()
    async with asyncio.TaskGroup() as group:
        group.create_task(_start_once_refused(mortal, device))
        async with device:
            await device.wait_for_message(sent["messageId"])


async def _start_once_refused(cluster: Cluster, device: FrontendClient) -> None:
    async with asyncio.timeout(PATIENCE):
        while not device.closings:
            await asyncio.sleep(0.02)
    await asyncio.to_thread(cluster.mariadb.start)


@on_sqlite
async def test_sqlite_locked_by_somebody_else(mortal: Cluster, register_mortal: Register) -> None:
    (file,) = Path(mortal.servers[0].environ["ICHAT_DATA_DIR"]).glob("*.db")
    async with conversation(register_mortal, mortal) as (chatter, _):
        with closing(sqlite3.connect(file, isolation_level=None)) as intruder:
            intruder.execute("BEGIN IMMEDIATE")
            await refused_sends(chatter, 2)
            intruder.execute("ROLLBACK")
        await chatter.progress(20)
