"""How Redis is reached: addresses, passwords, certificates, and what keeps deployments that share one apart."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from server.bus.interface import Address, Bus, BusUnavailable
from server.bus.redis import RedisBus
from server.clock import SystemClock
from server.config.settings import Redis
from tests.bus.ground import AnyRedis
from tests.bus.operations import assert_all_available
from tests.bus.waiting import LIMIT, eventually, numbered, post_all, read_data
from tests.support.certificate import Certificate
from tests.support.redis import RedisCluster, RedisServer, unique_prefix

LONG = 60.0
BOX = Address("user:1", "phone")

Servers = Callable[[str], AnyRedis]
Start = Callable[[Redis], Awaitable[Bus]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def started(settings: Redis) -> Bus:
            bus = RedisBus(settings, SystemClock())
            await bus.start()
            stack.push_async_callback(bus.close)
            return bus

        yield started


def single(servers: Servers, kind: str) -> RedisServer:
    server = servers(kind)
    assert isinstance(server, RedisServer)
    return server


async def assert_all_works(bus: Bus) -> None:
    """Commands and the subscription."""
    await assert_all_available(bus)
    mailbox = await bus.open_mailbox(BOX, ttl=LONG, create=True)
    await post_all(bus, BOX, numbered(3))
    assert await read_data(mailbox, 3) == numbered(3)
    heard = asyncio.Event()
    bus.on_broadcast("topic", lambda _data: heard.set())
    await bus.broadcast("topic", b"")
    await asyncio.wait_for(heard.wait(), LIMIT)


async def test_by_keys_or_by_address(servers: Servers, start: Start) -> None:
    server, prefix = single(servers, "redis-password-database"), unique_prefix()
    by_keys = server.settings(prefix=prefix, db=3)
    await assert_all_works(await start(by_keys))
    address = f"redis://default:{quote(server.password)}@{server.address}/3"
    await assert_all_works(await start(Redis(url=SecretStr(address), prefix=prefix)))
    named = by_keys.model_copy(update={"username": "default"})
    await assert_all_works(await start(named))


async def test_over_a_unix_socket(tmp_path: Path, start: Start) -> None:
    path = tmp_path / "redis.sock"
    with RedisServer(options=["--unixsocket", str(path)]):
        await assert_all_works(await start(Redis(url=SecretStr(f"unix://{path}?db=2"))))


async def test_with_tls_by_keys(servers: Servers, start: Start) -> None:
    server = single(servers, "redis-tls")
    assert server.certificate is not None
    settings = Redis(host=server.host, port=server.port, tls=True, tls_ca=server.certificate.cert)
    await assert_all_works(await start(settings.model_copy(update={"prefix": unique_prefix()})))


async def test_a_cluster_with_tls_and_a_password(start: Start) -> None:
    with RedisCluster(password="secret", tls=True) as cluster:
        await assert_all_works(await start(cluster.settings()))
        assert cluster.certificate is not None
        node, authorities = cluster.nodes[1], cluster.certificate.cert
        address = SecretStr(f"rediss://:secret@{node.address}?ssl_ca_certs={authorities}")
        await assert_all_works(await start(Redis(mode="cluster", url=address, prefix=unique_prefix())))


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("redis-password-database", {"password": SecretStr("wrong")}),
        ("redis-password-database", {"password": SecretStr("")}),
        ("redis-password-database", {"username": "nobody"}),
        ("redis-password-database", {"db": 1_000}),
        ("redis", {"password": SecretStr("where none is asked for")}),
        ("redis", {"tls": True}),
        ("redis", {"mode": "cluster", "nodes": "itself"}),
        ("redis", {"mode": "sentinel", "nodes": "itself"}),
    ],
)
async def test_what_cant_be_right_is_refused_at_the_start(
    servers: Servers, start: Start, kind: str, wrong: dict[str, Any]
) -> None:
    server = single(servers, kind)
    if "nodes" in wrong:
        wrong = wrong | {"nodes": (server.address,)}
    with pytest.raises(BusUnavailable):
        await start(server.settings().model_copy(update=wrong))


async def test_a_certificate_that_nobody_vouches_for_is_refused(servers: Servers, start: Start, tmp_path: Path) -> None:
    server, stranger = single(servers, "redis-tls"), Certificate(tmp_path)
    settings = Redis(host=server.host, port=server.port, tls=True)
    for authorities in (None, stranger.cert):
        with pytest.raises(BusUnavailable):
            await start(settings.model_copy(update={"tls_ca": authorities}))
    with pytest.raises(BusUnavailable):
        await start(Redis(host=server.host, port=server.port))


@pytest.mark.parametrize("apart", ["prefix", "db"])
async def test_deployments_that_share_a_redis_dont_see_each_other(servers: Servers, start: Start, apart: str) -> None:
    server, prefix = single(servers, "redis-password-database"), unique_prefix()
    settings = [server.settings(prefix=prefix, db=1), server.settings(prefix=prefix, db=1)]
    settings.append(settings[0].model_copy(update={apart: "another" if apart == "prefix" else 2}))
    one, same, another = [await start(each) for each in settings]
    heard: list[Bus] = []
    for bus in (same, another):
        bus.on_broadcast("topic", lambda _data, bus=bus: heard.append(bus))  # type: ignore[misc]

        async def fire(_name: str, _data: bytes, bus: Bus = bus) -> None:
            heard.append(bus)

        bus.on_timer("ring", fire)

    for bus in (one, another):
        assert (await bus.open_mailbox(BOX, ttl=LONG, create=True)).fresh
        assert await bus.acquire("call:1", LONG) is not None
    await one.put("user:1", "key", b"value", LONG)
    assert await another.get("user:1", "key") is None
    assert await another.survey("user:2") == []
    await one.broadcast("topic", b"")
    await one.set_timer("ring:1", SystemClock().now())
    await eventually(lambda: heard.count(same) == 2)
    await one.set_timer("ring:2", SystemClock().now() + timedelta(seconds=0.6))  # another has had a heartbeat by then
    await eventually(lambda: heard.count(same) == 3)
    assert another not in heard
