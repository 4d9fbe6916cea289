"""`serve --workers N`: several processes on one port, for as long as their parent lives."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from tests.operations.test_metrics import read
from tests.support.account import Account
from tests.support.cluster import SECRET, Cluster, open_cluster
from tests.support.mariadb import MariaDb
from tests.support.notification import PATIENCE
from tests.support.raw_http import END, RawHttp
from tests.support.redis import RedisServer, unique_prefix
from tests.support.server import ServerProcess

COUNT = 2
SOCKETS = 40
"""So many that each worker surely has some."""


@pytest.fixture(scope="module")
def shared(mariadb: MariaDb, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("workers")
    options: dict[str, Any] = {"mariadb": mariadb, "redis": redis_server, "settings": {"ICHAT_HTTP_DRAIN": "60"}}
    with open_cluster("shared", directory, processes=1, arguments=("--workers", str(COUNT)), **options) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared: Cluster) -> Cluster:
    """One parent with its workers, started again where the test before has ended it."""
    if not shared.servers[0].running:
        shared.start_and_wait()
    return shared


async def _wait_until(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.05)


def _connections(worker: psutil.Process, port: int, status: str) -> int:
    """How many of its sockets on the port are in this state."""
    return sum(
        connection.status == status and connection.laddr.port == port
        for connection in worker.net_connections(kind="tcp")
    )


async def _workers(server: ServerProcess, *, without: int = 0) -> dict[int, psutil.Process]:
    """By process id, once all of them listen. `without`: one that was just killed is none of them."""
    found: dict[int, psutil.Process] = {}

    def all_listen() -> bool:
        found.clear()
        for worker in psutil.Process(server.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if worker.pid != without and _connections(worker, server.port, psutil.CONN_LISTEN):
                    found[worker.pid] = worker
        return len(found) == COUNT

    await _wait_until(all_listen, "all workers listen")
    return found


async def _refused(port: int) -> None:
    """Returns once none of them takes new connections."""

    async def taken() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            return False
        writer.close()
        return True

    async with asyncio.timeout(PATIENCE):
        while await taken():
            await asyncio.sleep(0.05)


async def _all_end(workers: dict[int, psutil.Process]) -> None:
    await _wait_until(lambda: not any(worker.is_running() for worker in workers.values()), "the workers end")


async def test_they_share_the_port_and_one_that_dies_is_replaced(cluster: Cluster, http: aiohttp.ClientSession) -> None:
    (server,) = cluster.servers
    workers = await _workers(server)
    ann, ben = await Account.register(http, server.base), await Account.register(http, server.base)
    contact = await ann.befriend(ben)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        devices = await asyncio.gather(*(enter(ben.frontend()) for _ in range(SOCKETS)))
        served = {pid: _connections(worker, server.port, psutil.CONN_ESTABLISHED) for pid, worker in workers.items()}
        assert all(served.values()), served
        await ann.api.send(contact, "to both")
        await asyncio.gather(*(device.wait_for_texts({"to both"}) for device in devices))

        for _ in range(2 * COUNT):  # whoever answers, it is for all of them
            async with aiohttp.ClientSession() as fresh:
                readings = await read(fresh, cluster)
            assert readings.value("ichat_sockets", kind="notification") == SOCKETS
            assert readings.value("ichat_requests_total", route="POST /register") == 2
            assert readings.value("ichat_build_info") == 1

        victim = min(workers)
        workers[victim].kill()
        successors = await _workers(server, without=victim)
        assert len(successors.keys() - workers.keys()) == 1
        await ann.api.send(contact, "to the new one too")
        await asyncio.gather(*(device.wait_for_texts({"to the new one too"}) for device in devices))
        assert any(device.closings for device in devices)
        readings = await read(http, cluster)
        assert readings.value("ichat_sockets", kind="notification") == SOCKETS, "the dead one's are forgotten"
        assert "worker" in server.log()
    assert await server.terminate() == 0
    await _all_end(successors)


async def test_they_can_share_an_embedded_database(
    redis_server: RedisServer, tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    settings = {
        "ICHAT_REDIS_HOST": redis_server.host,
        "ICHAT_REDIS_PORT": str(redis_server.port),
        "ICHAT_REDIS_PREFIX": unique_prefix(),
        "ICHAT_JWT_SECRET": SECRET,
    }
    server = ServerProcess(tmp_path, settings, arguments=("--workers", str(COUNT)))
    await server.start()
    try:
        workers = await _workers(server)
        ann, ben = await Account.register(http, server.base), await Account.register(http, server.base)
        contact = await ann.befriend(ben)
        async with AsyncExitStack() as stack:
            devices = [await stack.enter_async_context(ben.frontend()) for _ in range(SOCKETS)]
            assert all(_connections(worker, server.port, psutil.CONN_ESTABLISHED) for worker in workers.values()), (
                "each has some"
            )
            texts = {f"number {number}" for number in range(40)}
            await asyncio.gather(*(ann.api.send(contact, text) for text in texts))
            await asyncio.gather(*(device.wait_for_texts(texts) for device in devices))
        assert await server.terminate() == 0
        await _all_end(workers)
        server.check_log()
    finally:
        server.stop()


async def test_a_second_signal_ends_them_at_once(cluster: Cluster) -> None:
    (server,) = cluster.servers
    workers = await _workers(server)
    async with RawHttp(server.port) as raw:
        await raw.send(b"POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nExpect: 100-continue" + END)
        assert (await raw.answer()).status == 100
        assert server.process is not None
        server.process.send_signal(signal.SIGTERM)
        await _refused(server.port)
        server.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.process.wait, PATIENCE) == signal.SIGTERM
    await _all_end(workers)


async def test_they_do_not_outlive_a_parent_that_is_killed(cluster: Cluster) -> None:
    (server,) = cluster.servers
    workers = await _workers(server)
    server.kill()
    await _all_end(workers)
    await _refused(server.port)
