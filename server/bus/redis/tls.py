"""One TLS context for all connections of a client.

By itself the client makes one for each connection, which reads the system's certificates every time: a tenth of a
second, in the event loop.
"""

from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import RedisSSLContext, SSLConnection


def share_context(client: Redis | RedisCluster) -> None:
    """To be called before the client connects; one that speaks in the clear is left alone."""
    if isinstance(client, RedisCluster):
        kind = client.connection_kwargs["connection_class"]
        if issubclass(kind, SSLConnection):
            client.connection_kwargs["connection_class"] = kind = _sharing(kind)  # for nodes that it finds
            for node in client.startup_nodes:
                node.connection_class = kind
        return
    pool = client.connection_pool
    if issubclass(pool.connection_class, SSLConnection):
        pool.connection_class = _sharing(pool.connection_class)


def _sharing(kind: type[SSLConnection]) -> type[SSLConnection]:
    shared: RedisSSLContext | None = None

    class Sharing(kind):  # type: ignore[misc, valid-type]
        ssl_context: RedisSSLContext

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            nonlocal shared
            super().__init__(*args, **kwargs)
            shared = shared or self.ssl_context
            self.ssl_context = shared

    return Sharing
