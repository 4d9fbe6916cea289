"""Clients that don't keep to the protocol, or only to its letter. The others must not notice."""

import asyncio
import contextlib
import os
import time
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from tests.faults.chatter import Chatter, assert_nothing_lost, chatting
from tests.faults.observe import open_sockets
from tests.faults.raw import RawSocket
from tests.support.account import Account
from tests.support.cluster import Cluster
from tests.support.frames import Opcode, client_frame, client_header
from tests.support.notification import PATIENCE
from tests.support.register import Register
from tests.support.server import ServerProcess

MIB = 1024 * 1024
MEMORY_LIMIT = 48 * MIB
"""What one hostile client may cost."""
CALM = 15.0
"""Seconds that a send of somebody else may take meanwhile: on a loaded machine it may be slow, but doesn't hang."""


def memory(server: ServerProcess) -> int:
    """Bytes of resident memory."""
    return int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def bystanders(register: Register) -> tuple[Chatter, Account]:
    """Two who chat with each other, at the server that is abused."""
    ann, ben = await register(), await register()
    return Chatter(ann, await ann.befriend(ben), stubborn=False, pause=0.02), ben


@pytest.mark.parametrize("pings", [False, True])
async def test_a_client_that_stops_reading_is_disconnected_and_can_come_back(
    impatient: Cluster, register_impatient: Register, http: aiohttp.ClientSession, *, pings: bool
) -> None:
    """Also one that goes on sending, pings for example, which the server answers."""
    server = impatient.servers[0]
    ann, ben = await register_impatient(server=1), await register_impatient()
    contact_id = await ann.befriend(ben)
    stuck = await RawSocket.open(server.port, receive_buffer=4096)
    session_id = await stuck.log_in(ben.api.token)
    before = memory(server)

    async def ping() -> None:
        with contextlib.suppress(ConnectionError):
            while pings:
                await stuck.send(client_frame(Opcode.PING))
                await asyncio.sleep(0.1)

    pinging = asyncio.create_task(ping())
    async with ben.frontend() as healthy:
        for number in range(200):  # more than any buffer of the system takes
            await ann.api.send(contact_id, f"{number} " + "字" * 19_000)
            await healthy.wait_for_count(number + 1, CALM)
        assert memory(server) - before < MEMORY_LIMIT
        async with asyncio.timeout(PATIENCE):
            while await open_sockets(http, server.base) > 1:
                await asyncio.sleep(0.1)
        await pinging
        await stuck.read_to_end()
        again = await RawSocket.open(server.port)
        assert await again.log_in(ben.api.token, session_id) == session_id
        await _read_until_delivery(again, 200)
        again.close()


async def _read_until_delivery(socket: RawSocket, delivery_id: int) -> None:
    wanted = f'"deliveryId":{delivery_id}'.encode()
    while True:
        opcode, payload = await socket.read()
        assert opcode != Opcode.CLOSE, payload
        if wanted in payload:
            return


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(bytes(range(256)) * 4, id="noise"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", id="http"),
        pytest.param(client_frame(Opcode.TEXT, b"\xff\xfe\xfd"), id="not UTF-8"),
        pytest.param(client_frame(Opcode.BINARY, b"binary"), id="binary"),
        pytest.param(client_frame(Opcode.TEXT, b"x", final=False) + client_frame(Opcode.TEXT), id="broken fragments"),
        pytest.param(client_frame(Opcode.CONTINUATION, b"x"), id="continues nothing"),
        pytest.param(client_frame(Opcode.PING, b"x" * 126), id="long ping"),
        pytest.param(client_frame(3, b"x"), id="unknown opcode"),
        pytest.param(b"\xf1" + client_frame(Opcode.TEXT, b"x")[1:], id="reserved bits"),
        pytest.param(client_frame(Opcode.TEXT, claimed=2**63 - 1), id="endless frame"),
        pytest.param(client_frame(Opcode.CLOSE, b"\x03"), id="broken close"),
    ],
)
async def test_garbage_ends_its_own_connection_only(register: Register, cluster: Cluster, data: bytes) -> None:
    server = cluster.servers[0]
    chatter, ben = await bystanders(register)
    async with ben.frontend() as device, chatting(chatter):
        early = await RawSocket.open(server.port)
        await early.send(data)
        await early.read_to_end()
        late = await RawSocket.open(server.port)
        await late.log_in(ben.api.token)
        await late.send(data)
        await late.read_to_end()
        await chatter.progress()
    assert device.closings == []
    assert chatter.refusals == []
    assert chatter.slowest < CALM


async def test_a_frame_of_100_megabytes_is_cut_off(register: Register, cluster: Cluster) -> None:
    server = cluster.servers[0]
    chatter, ben = await bystanders(register)
    before = memory(server)
    async with ben.frontend() as device, chatting(chatter):
        for logged_in in (False, True):
            giant = await RawSocket.open(server.port)
            if logged_in:
                await giant.log_in(ben.api.token)
            with suppress(ConnectionError):
                await giant.send(client_header(Opcode.TEXT, 100 * MIB))
                for _ in range(100):
                    await giant.send(b"x" * MIB)
                pytest.fail("the server took all of it")
            await giant.read_to_end()
            assert memory(server) - before < MEMORY_LIMIT
        await chatter.progress()
    assert device.closings == []
    assert chatter.slowest < CALM


async def test_fragments_without_end_are_cut_off(register: Register, cluster: Cluster) -> None:
    server = cluster.servers[0]
    ann = await register()
    before = memory(server)
    endless = await RawSocket.open(server.port)
    await endless.log_in(ann.api.token)
    with suppress(ConnectionError):
        await endless.send(client_frame(Opcode.TEXT, b"x" * 1000, final=False))
        for _ in range(100_000):
            await endless.send(client_frame(Opcode.CONTINUATION, b"x" * 1000, final=False))
        pytest.fail("the server took all of it")
    await endless.read_to_end()
    assert memory(server) - before < MEMORY_LIMIT


async def test_10_000_frames_a_second_end_the_connection_and_disturb_nobody(
    register: Register, cluster: Cluster
) -> None:
    server = cluster.servers[0]
    chatter, ben = await bystanders(register)
    async with ben.frontend() as device:
        async with chatting(chatter):
            flood = await RawSocket.open(server.port)
            await flood.log_in(ben.api.token)
            start = time.monotonic()
            with suppress(ConnectionError):
                for second in range(300):
                    await flood.send(client_frame(Opcode.TEXT, b"1") * 1000)
                    await asyncio.sleep(start + (second + 1) / 10 - time.monotonic())
                pytest.fail("it went on for 30 seconds")
            await flood.read_to_end()
            await chatter.progress()
        await assert_nothing_lost(ben, [chatter], [device])
    assert device.closings == []
    assert chatter.slowest < CALM


async def test_hundreds_who_connect_and_say_nothing(register: Register, cluster: Cluster) -> None:
    server = cluster.servers[0]
    chatter, ben = await bystanders(register)
    before = memory(server)
    async with ben.frontend() as device, chatting(chatter):
        silent = await asyncio.gather(*(RawSocket.open(server.port) for _ in range(500)))
        await chatter.progress()
        for socket in silent:
            socket.close()
        await chatter.progress()
    assert device.closings == []
    assert chatter.slowest < CALM
    assert memory(server) - before < MEMORY_LIMIT
