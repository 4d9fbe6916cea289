"""The connections to Redis, whatever its mode: commands and scripts within a time limit, with one kind of failure."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisClusterException, RedisError

from server.bus.interface import BusUnavailable
from server.bus.redis.scripts import Script
from server.bus.redis.tls import share_context
from server.config.settings import Redis as RedisSettings
from server.runtime.metrics import Metrics

Argument = str | bytes | int

FAILURES = (RedisError, RedisClusterException, OSError)
"""What the client raises where Redis isn't there, or doesn't do as it is told."""

_CONNECTIONS = 32
"""At most, for commands; those beyond wait their turn. More would only cost memory and handshakes."""

_SCANNED = 1_000
"""Keys that one step of a scan looks at."""


class Link:
    """`on_trouble` is called whenever Redis didn't do as it was told."""

    def __init__(self, settings: RedisSettings, metrics: Metrics | None) -> None:
        self._settings = settings
        self._times = cache(metrics.bus_seconds.labels) if metrics is not None else None
        self._timeout = settings.timeout
        self.cluster = settings.mode == "cluster"
        self.on_trouble: Callable[[], None] = _nothing
        self._options = _options(settings)
        self._turns = asyncio.Semaphore(_CONNECTIONS)
        self._closed = False
        self._under_way = 0
        self._idle = asyncio.Event()
        self._sentinel: Sentinel | None = None
        self._client: Redis | RedisCluster = self._connect()
        share_context(self._client)

    @property
    def db(self) -> int:
        """The number of the database."""
        if isinstance(self._client, RedisCluster):
            return 0
        return int(self._client.connection_pool.connection_kwargs.get("db", 0) or 0)

    def _connect(self) -> Redis | RedisCluster:
        settings, options = self._settings, self._options
        # an idle connection may have been closed meanwhile: that is found out by using it, once
        retry = Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))
        match settings.mode:
            case "cluster":
                nodes = [ClusterNode(host, int(port)) for host, port in map(_host_and_port, settings.nodes)]
                if not nodes:
                    return RedisCluster.from_url(settings.url.get_secret_value(), **options)
                return RedisCluster(startup_nodes=nodes, **options)
            case "sentinel":
                sentinels = [(host, int(port)) for host, port in map(_host_and_port, settings.nodes)]
                limits = {"socket_timeout": settings.timeout, "socket_connect_timeout": settings.timeout}
                kwargs = {**limits, "protocol": 2}
                self._sentinel = Sentinel(sentinels, sentinel_kwargs=kwargs)  # type: ignore[no-untyped-call]
                return self._master(self._sentinel, retry)
            case "single":
                return self._single(retry)

    def _master(self, sentinel: Sentinel, retry: Retry) -> Redis:
        settings = self._settings
        master: Redis = sentinel.master_for(settings.sentinel_service, db=settings.db, retry=retry, **self._options)
        return master

    def _single(self, retry: Retry) -> Redis:
        settings = self._settings
        if url := settings.url.get_secret_value():
            return Redis.from_url(url, retry=retry, **self._options)
        return Redis(host=settings.host, port=settings.port, db=settings.db, retry=retry, **self._options)

    def listener(self) -> Redis:
        """A client of its own for a subscription: one that tells of a lost connection instead of mending it.

        In a cluster any node will do: what is published on one is heard on all.
        """
        if isinstance(self._client, RedisCluster):
            node = random.choice(self._client.get_nodes())  # noqa: S311  no secret
            options = {**node.connection_kwargs, "retry": Retry(NoBackoff(), 0)}
            return Redis(connection_pool=ConnectionPool(node.connection_class, **options))
        if self._sentinel is not None:
            return self._master(self._sentinel, Retry(NoBackoff(), 0))
        pool = self._client.connection_pool
        return Redis(connection_pool=type(pool)(pool.connection_class, **pool.connection_kwargs))

    async def start(self) -> None:
        """Raises BusUnavailable."""
        await self.command("PING", operation="ping")

    async def close(self) -> None:
        self._closed = True
        await self._disconnect()
        if self._under_way:
            # what was under way finds its connection closed, and may have made another one meanwhile
            self._idle.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timeout + 1.0):
                    await self._idle.wait()
            await self._disconnect()
        await asyncio.sleep(0)  # what was cut off in the middle of a request closes in the loop's next turn
        if self._sentinel is not None:
            await self._sentinel.aclose()

    async def _disconnect(self) -> None:
        await self._client.aclose()
        if isinstance(self._client, RedisCluster):  # one that would look for its nodes anew has closed nothing by that
            for nodes in ("nodes_cache", "startup_nodes"):
                await self._client.nodes_manager.aclose(nodes)

    async def command(self, *parts: Argument, operation: str) -> Any:
        """Raises BusUnavailable."""
        return await self._timed(operation, lambda: self._client.execute_command(*parts))

    async def scan(self, pattern: str) -> list[str]:
        """All keys that match, on every node. Raises BusUnavailable."""
        nodes = self._client.get_primaries() if isinstance(self._client, RedisCluster) else [None]
        found: dict[str, None] = {}
        for node in nodes:
            cursor = -1
            while cursor != 0:
                cursor, keys = await self._timed("scan", partial(self._scan, max(cursor, 0), pattern, node))
                found |= dict.fromkeys(key.decode() for key in keys)
        return list(found)

    async def _scan(self, cursor: int, pattern: str, node: ClusterNode | None) -> tuple[int, list[bytes]]:
        command = ("SCAN", cursor, "MATCH", pattern, "COUNT", _SCANNED)
        if node is None:
            following, keys = await self._client.execute_command(*command)
        else:
            cursors, keys = await self._client.execute_command(*command, target_nodes=node)
            (following,) = cursors.values()  # of each node that was asked
        return int(following), keys

    async def run(self, script: Script, keys: Sequence[str], *arguments: Argument, slot: str = "") -> Any:
        """The answer of a script. `slot`: a key of the slot it runs in, where it declares none.

        Raises:
            BusUnavailable
        """
        declared = (*keys, slot) if slot else keys
        return await self._timed(
            script.name, lambda: self._evaluate(script, len(declared), [*declared, *arguments])
        )  # fmt: skip

    async def _evaluate(self, script: Script, keys: int, arguments: list[Argument]) -> Any:
        try:
            return await self._client.execute_command("EVALSHA", script.digest, keys, *arguments)
        except NoScriptError:
            return await self._client.execute_command("EVAL", script.text, keys, *arguments)

    async def _timed(self, operation: str, work: Callable[[], Any]) -> Any:
        if self._closed:
            raise BusUnavailable(f"{operation}: closed")
        start = time.perf_counter()
        self._under_way += 1
        try:
            async with asyncio.timeout(self._timeout), self._turns:
                return await work()
        except TimeoutError as error:
            self.on_trouble()
            raise BusUnavailable(f"{operation}: no answer within {self._timeout:g} s") from error
        except FAILURES as error:
            self.on_trouble()
            raise BusUnavailable(f"{operation}: {error}") from error
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()
            if self._times is not None:
                self._times(operation).observe(time.perf_counter() - start)


def _nothing() -> None:
    pass


def _options(settings: RedisSettings) -> dict[str, Any]:
    # one time limit for all (`Link._timed`) costs less than one of the client's for each read
    options: dict[str, Any] = {
        "protocol": 2,
        "socket_timeout": None,
        "socket_connect_timeout": settings.timeout,
    }
    if not settings.url.get_secret_value().startswith("unix:"):
        options["socket_keepalive"] = True
    if settings.username:
        options["username"] = settings.username
    if password := settings.password.get_secret_value():
        options["password"] = password
    if settings.tls:
        options["ssl"] = True
        if settings.tls_ca is not None:
            options["ssl_ca_certs"] = str(Path(settings.tls_ca))
    return options


def _host_and_port(address: str) -> tuple[str, str]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), port
