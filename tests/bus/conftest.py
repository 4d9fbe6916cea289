"""Grounds: each test that takes `ground` runs over every kind of bus."""

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack

import pytest

from tests.bus.ground import AnyRedis, Ground, MemoryGround, RedisGround
from tests.support.redis import RedisCluster, RedisSentinels, RedisServer

MAKERS: dict[str, Callable[[], AbstractContextManager[AnyRedis]]] = {
    "redis": RedisServer,
    "redis-password-database": lambda: RedisServer(password="a password, with: punctuation"),
    "redis-tls": lambda: RedisServer(tls=True),
    "redis-cluster": RedisCluster,
    "redis-sentinel": RedisSentinels,
}
DATABASES = {"redis-password-database": 7}


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[str], AnyRedis]]:
    """Gives the servers of a kind, which stay for all tests of this worker; they may be flushed, not stopped."""
    with ExitStack() as stack:
        yield functools.cache(lambda kind: stack.enter_context(MAKERS[kind]()))


@pytest.fixture(params=["memory", *MAKERS])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def ground(kind: str, servers: Callable[[str], AnyRedis]) -> AsyncIterator[Ground]:
    made = MemoryGround() if kind == "memory" else RedisGround(servers(kind), db=DATABASES.get(kind, 0))
    yield made
    await made.close()
