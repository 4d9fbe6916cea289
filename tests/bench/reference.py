"""What this machine can do at all, measured in the same run, so that the other figures can be read as ratios:
`.venv/bin/python -m tests.bench.reference`."""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable

import pymysql
import redis
import uvloop
from aiohttp import web

from tests.bench.rig import SERVER_CORES, cpu_seconds, main
from tests.bench.table import Table, millis, percentile
from tests.bench.wire import HttpConnection, post
from tests.support.mariadb import MariaDb
from tests.support.redis import RedisServer
from tests.support.server import free_port

BODY = b'{"contactId":1,"localId":"n1","text":"' + b"x" * 100 + b'"}'
ANSWER = b'{"status":"ok","code":200,"data":{' + b'"field":1,' * 25 + b'"last":0}}'


async def echo(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(body=ANSWER, content_type="application/json")


def serve(port: int) -> None:
    """The least that an aiohttp server can do with a POST."""
    app = web.Application()
    app.router.add_post("/", echo)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None, loop=uvloop.new_event_loop())


async def bare_http(table: Table) -> None:
    port = free_port()
    server = subprocess.Popen([sys.executable, "-m", "tests.bench.reference", "--serve", str(port)])
    try:
        os.sched_setaffinity(server.pid, SERVER_CORES)
        connections = [await _connect(port) for _ in range(40)]
        times = await _timed(lambda: connections[0].request(post("/", "token", BODY)), 1_000)
        table.add("POST to a bare aiohttp handler, one at a time", millis(percentile(times, 0.5)), "")
        before, start, count = cpu_seconds(server.pid), time.perf_counter(), 0

        async def loop(connection: HttpConnection) -> None:
            nonlocal count
            while time.perf_counter() < start + 3:
                await connection.request(post("/", "token", BODY))
                count += 1

        await asyncio.gather(*map(loop, connections))
        took, cpu = time.perf_counter() - start, cpu_seconds(server.pid) - before
        table.add(
            "the same, 40 in a closed loop", "", f"{count / took:,.0f} a second, {millis(cpu / count)} ms CPU each"
        )
        for connection in connections:
            connection.close()
    finally:
        server.terminate()
        server.wait()


async def _connect(port: int) -> HttpConnection:
    async with asyncio.timeout(30):
        while True:
            try:
                return await HttpConnection.open(port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)


async def _timed(call: Callable[[], Awaitable[object]], count: int) -> list[float]:
    times = []
    for _ in range(count):
        start = time.perf_counter()
        await call()
        times.append(time.perf_counter() - start)
    return times


def stores(table: Table) -> None:
    """One blocking client, one thing at a time."""
    with tempfile.NamedTemporaryFile() as file:
        table.add("a write of 4 KiB and fsync", millis(_blocking(lambda: _write(file.fileno()))), "")
    with RedisServer() as server, redis.Redis(host=server.host, port=server.port) as client:
        table.add("Redis PING", millis(_blocking(client.ping)), "")
    with MariaDb() as mariadb:
        database = mariadb.create_database()
        connection = pymysql.connect(
            host=database.host,
            port=database.port,
            user=database.user,
            password=database.password.get_secret_value(),
            database=database.dbname,
            autocommit=True,
        )
        with connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE t (id BIGINT PRIMARY KEY AUTO_INCREMENT, text VARCHAR(200))")
            table.add("MariaDB SELECT 1", millis(_blocking(lambda: cursor.execute("SELECT 1"))), "")
            insert = "INSERT INTO t (text) VALUES ('0123456789')"
            table.add("MariaDB INSERT and commit", millis(_blocking(lambda: cursor.execute(insert))), "")


def _write(file: int) -> None:
    os.pwrite(file, b"x" * 4096, 0)
    os.fsync(file)


def _blocking(call: Callable[[], object], count: int = 500) -> float:
    times = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


async def run() -> list[Table]:
    table = Table("What the machine itself does", ("what", "p50 ms", "throughput"))
    await bare_http(table)
    await asyncio.to_thread(stores, table)
    return [table]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(int(sys.argv[2]))
    else:
        main(run)
