"""The kinds of bus that the contract suite runs over."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.bus.ground import AnyRedis, Ground, MemoryGround, RedisGround
from tests.support.redis import RedisCluster, RedisSentinels, RedisServer

MEMORY = "memory"
SERVERS: dict[str, Callable[[], AbstractContextManager[AnyRedis]]] = {
    "redis": RedisServer,
    "redis-password-database": lambda: RedisServer(password="a password, with: punctuation"),
    "redis-tls": lambda: RedisServer(tls=True),
    "redis-cluster": RedisCluster,
    "redis-sentinel": RedisSentinels,
}
KINDS = (MEMORY, *SERVERS)
DATABASES = {"redis-password-database": 7}

takes_seconds = pytest.mark.parametrize("kind", [MEMORY, "redis", "redis-cluster"], indirect=True)
"""For tests that wait: the kinds left out differ from these in how one connects only."""

can_be_cut_off = pytest.mark.parametrize("kind", [MEMORY, "redis"], indirect=True)
"""For tests that use `Ground.handle_with_line`."""


def ground_of(kind: str, servers: Callable[[str], AnyRedis]) -> Ground:
    return MemoryGround() if kind == MEMORY else RedisGround(servers(kind), db=DATABASES.get(kind, 0))
