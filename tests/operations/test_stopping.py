"""SIGTERM: nobody loses anything, and everybody comes back by themselves."""

import asyncio
import signal
import time

import aiohttp
import pytest

from tests.faults.raw import RawSocket
from tests.support.api import Api
from tests.support.cluster import Cluster
from tests.support.notification import PATIENCE, NotificationSocket
from tests.support.raw_http import END, RawHttp
from tests.support.register import Register
from tests.support.server import ServerProcess

RESTART = 1012
embedded = pytest.mark.parametrize("own_cluster", ["embedded"], indirect=True)
SOCKETS = 40


async def _refuses(port: int) -> None:
    """Returns once nobody listens on the port."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                return
            writer.close()
            await asyncio.sleep(0.02)


async def _ended(server: ServerProcess) -> int:
    assert server.process is not None
    return await asyncio.to_thread(server.process.wait, PATIENCE)


@embedded
async def test_sockets_are_told_to_come_back_each_at_its_moment(own_cluster: Cluster, register_own: Register) -> None:
    ann = await register_own()
    server = own_cluster.servers[0]
    sockets = await asyncio.gather(*(ann.api.connect() for _ in range(SOCKETS)))
    for socket in sockets:
        await socket.opening()

    async def told(socket: NotificationSocket) -> tuple[int, float]:
        return (await socket.closed()).code, time.monotonic()

    stopping = asyncio.create_task(server.terminate())
    codes, times = zip(*await asyncio.gather(*map(told, sockets)), strict=True)
    assert set(codes) == {RESTART}
    assert max(times) - min(times) > SOCKETS / 100 / 2, "they all came at once"
    assert await stopping == 0


@pytest.mark.settings(ICHAT_HTTP_DRAIN="30")
async def test_a_session_goes_on_at_the_next_process(own_cluster: Cluster, register_own: Register) -> None:
    """On the shared backend at once at the other one; the embedded one syncs after its restart."""
    ann, ben = await register_own(server=1), await register_own()
    contact = await ann.befriend(ben)
    server = own_cluster.servers[0]
    async with ben.frontend() as device:
        await ann.api.send(contact, "before")
        await device.wait_for_texts({"before"})
        if own_cluster.backend == "shared":
            device.api = ben.api.at(own_cluster.bases[1])  # as its load balancer does
        stopping = asyncio.create_task(server.terminate())
        await device.wait_until(lambda: device.closings, "to be told")
        assert device.closings[-1].code == RESTART
        assert await stopping == 0
        if own_cluster.backend == "embedded":
            await server.start()
        await ann.api.send(contact, "after")
        await device.wait_for_texts({"before", "after"})
        assert device.openings[-1].resumed is (own_cluster.backend == "shared")


@embedded
@pytest.mark.settings(ICHAT_HTTP_DRAIN="60")
async def test_requests_in_flight_are_finished(
    own_cluster: Cluster, register_own: Register, http: aiohttp.ClientSession
) -> None:
    ann = await register_own()
    server = own_cluster.servers[0]
    socket = await ann.api.connect()
    await socket.opening()
    body = b'{"userIds": []}'
    head = (
        f"POST /api/user/infos HTTP/1.1\r\nHost: x\r\nAuthorization: {ann.api.token}\r\nContent-Length: {len(body)}\r\n"
        "Expect: 100-continue"
    )
    async with RawHttp(server.port) as raw:
        await raw.send(head.encode() + END)
        assert (await raw.answer()).status == 100
        stopping = asyncio.create_task(server.terminate())
        assert (await socket.closed()).code == RESTART
        await _refuses(server.port)
        await raw.send(body)
        answer = await raw.answer()
        assert (answer.status, answer.body) == (200, b'{"status":"ok","code":200,"data":[]}')
        assert await raw.ended()
    assert await stopping == 0


@pytest.mark.settings(ICHAT_HTTP_DRAIN="600")
@embedded
async def test_a_second_signal_ends_at_once(own_cluster: Cluster) -> None:
    """Also while somebody's request doesn't come to its end."""
    (server,) = own_cluster.servers
    async with RawHttp(server.port) as raw:
        await raw.send(b"POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nExpect: 100-continue" + END)
        assert (await raw.answer()).status == 100
        assert server.process is not None
        server.process.send_signal(signal.SIGTERM)
        await _refuses(server.port)
        assert server.running
        server.process.send_signal(signal.SIGTERM)
        assert await _ended(server) == -signal.SIGTERM


@pytest.mark.settings(ICHAT_HTTP_DRAIN="0.5")
@embedded
async def test_nobody_can_hold_up_the_end(own_cluster: Cluster, register_own: Register) -> None:
    """A request that never comes to its end, a socket that never closes."""
    (server,) = own_cluster.servers
    ann = await register_own()
    mute = await RawSocket.open(server.port)  # it answers nothing, not even the close
    await mute.log_in(ann.api.token)
    async with RawHttp(server.port) as raw:
        await raw.send(b"POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nExpect: 100-continue" + END)
        assert (await raw.answer()).status == 100
        assert await server.terminate() == 0
    mute.close()


@embedded
async def test_a_request_on_a_connection_that_stays_open_is_answered_or_refused_whole(
    own_cluster: Cluster, register_own: Register, http: aiohttp.ClientSession
) -> None:
    """Never an answer that breaks off: clients that keep their connections busy see only whole answers."""
    ann = await register_own()
    server = own_cluster.servers[0]
    answered = 0

    async def keep_asking() -> None:
        nonlocal answered
        async with aiohttp.ClientSession() as own:
            api = Api(own, server.base, ann.api.token)
            try:
                while True:
                    answer = await api.answer("GET", "/contact")
                    assert answer.ok, answer
                    answered += 1
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientConnectorError, ConnectionResetError):
                return  # between two answers

    askers = [asyncio.create_task(keep_asking()) for _ in range(4)]
    async with asyncio.timeout(PATIENCE):
        while answered < 20:
            await asyncio.sleep(0.01)
    assert await server.terminate() == 0
    await asyncio.gather(*askers)
