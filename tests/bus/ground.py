"""What the contract suite stands on: a bus of some kind that any number of handles share."""

from abc import ABC, abstractmethod
from contextlib import AsyncExitStack
from typing import Protocol
from urllib.parse import urlsplit

from server.bus.interface import Bus
from server.bus.memory import MemoryBus, MemoryHub
from server.bus.redis import RedisBus
from server.clock import SystemClock
from server.config.settings import Redis
from tests.support.proxy import Proxy
from tests.support.redis import RedisCluster, RedisSentinels, RedisServer, unique_prefix

AnyRedis = RedisServer | RedisCluster | RedisSentinels

PATIENCE = 10.0
"""Time limit of a round trip: a Redis that is only slow, on a busy machine, isn't in trouble."""


class Line(Protocol):
    """A handle's way to the bus."""

    def cut(self) -> None:
        """Nothing gets through any more, and neither end is told."""
        ...

    async def mend(self) -> None: ...


class Ground(ABC):
    """Makes handles on one bus, which nothing else uses; at the end it closes them."""

    shards = False
    """Whether groups live on different servers, so that each needs commands of its own."""
    counts = True
    """Whether `commands` tells anything."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()

    async def handle(self) -> Bus:
        """A handle of its own, started: as if in another process."""
        return await self._started(self.new())

    async def _started(self, bus: Bus) -> Bus:
        await bus.start()
        self._stack.push_async_callback(bus.close)
        return bus

    @abstractmethod
    def new(self) -> Bus:
        """A handle that isn't started, and that the caller closes."""

    @abstractmethod
    async def kill(self, bus: Bus) -> None:
        """End a handle as the death of its process does."""

    @abstractmethod
    async def handle_with_line(self, timeout: float = PATIENCE) -> tuple[Bus, Line]:
        """`timeout`: that of a round trip, where it takes one."""

    @abstractmethod
    def flush(self) -> None:
        """Let the bus forget everything."""

    def commands(self) -> int:
        """What the handles have asked of a server since this was called first."""
        raise NotImplementedError

    async def close(self) -> None:
        await self._stack.aclose()


class MemoryGround(Ground):
    counts = False

    def __init__(self) -> None:
        super().__init__()
        self.hub = MemoryHub()

    def new(self) -> MemoryBus:
        return MemoryBus(self.hub, SystemClock())

    async def kill(self, bus: Bus) -> None:
        assert isinstance(bus, MemoryBus)
        bus.kill()

    async def handle_with_line(self, timeout: float = PATIENCE) -> tuple[Bus, Line]:
        bus = self.new()
        return await self._started(bus), _MemoryLine(bus)

    def flush(self) -> None:
        self.hub.flush()


class _MemoryLine:
    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus

    def cut(self) -> None:
        self._bus.isolate()

    async def mend(self) -> None:
        self._bus.heal()


class RedisGround(Ground):
    def __init__(self, server: AnyRedis, *, db: int = 0, timeout: float = PATIENCE) -> None:
        super().__init__()
        self.server = server
        self.shards = isinstance(server, RedisCluster)
        self._prefix = unique_prefix()
        self._db = db
        self._timeout = timeout

    def settings(self) -> Redis:
        if isinstance(self.server, RedisServer):
            return self.server.settings(prefix=self._prefix, timeout=self._timeout, db=self._db)
        return self.server.settings(prefix=self._prefix, timeout=self._timeout)

    def new(self) -> RedisBus:
        return RedisBus(self.settings(), SystemClock())

    async def kill(self, bus: Bus) -> None:
        assert isinstance(bus, RedisBus)
        await bus.kill()

    async def handle_with_line(self, timeout: float = PATIENCE) -> tuple[Bus, "ProxyLine"]:
        assert isinstance(self.server, RedisServer), "the others tell their clients where to connect"
        line = ProxyLine(await self._stack.enter_async_context(Proxy(self.server.port)))
        settings = self.server.settings(prefix=self._prefix, timeout=timeout, db=self._db, port=line.port)
        return await self._started(RedisBus(settings, SystemClock())), line

    def flush(self) -> None:
        self.server.flush()

    def commands(self) -> int:
        return self.server.commands()


class ProxyLine:
    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        port = urlsplit(proxy.base).port
        assert port is not None
        self.port = port

    def cut(self) -> None:
        self._proxy.freeze()

    async def mend(self) -> None:
        """What was sent meanwhile arrives now."""
        self._proxy.thaw()

    def break_connections(self) -> None:
        self._proxy.reset()
