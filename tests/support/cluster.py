"""Server processes that serve the same users, on either backend.

`embedded`: one process with SQLite and the bus in its memory. `shared`: any number of processes on a private
MariaDB and a private Redis.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

from tests.store.ready import mysql_database
from tests.support.mariadb import MariaDb
from tests.support.redis import RedisServer
from tests.support.server import ServerProcess

BACKENDS = ("embedded", "shared")
SECRET = "a secret that all processes of a test share"


class Cluster:
    """`servers` with what they store things in. A test may stop, kill and start any of them."""

    def __init__(
        self,
        backend: str,
        servers: Sequence[ServerProcess],
        mariadb: MariaDb | None = None,
        redis: RedisServer | None = None,
    ) -> None:
        self.backend = backend
        self.servers = servers
        self._mariadb = mariadb
        self._redis = redis

    @property
    def mariadb(self) -> MariaDb:
        assert self._mariadb is not None, "the embedded backend has no MariaDB"
        return self._mariadb

    @property
    def redis(self) -> RedisServer:
        assert self._redis is not None, "the embedded backend has no Redis"
        return self._redis

    @property
    def bases(self) -> list[str]:
        return [server.base for server in self.servers]

    def start_and_wait(self) -> None:
        for server in self.servers:
            server.launch()
        for server in self.servers:
            server.wait_ready()

    async def start(self) -> None:
        """Start those that aren't running, and wait until all are ready."""
        for server in self.servers:
            if not server.running:
                server.launch()
        await asyncio.gather(*(asyncio.to_thread(server.wait_ready) for server in self.servers))

    def stop(self) -> None:
        for server in self.servers:
            server.stop()

    def check_logs(self) -> None:
        for server in self.servers:
            server.check_log()

    def redis_commands(self) -> int:
        """Commands that Redis has carried out so far; 0 on the embedded backend."""
        return self._redis.commands() if self._redis else 0


@contextmanager
def open_cluster(
    backend: str,
    directory: Path,
    *,
    processes: int = 2,
    settings: Mapping[str, str] | None = None,
    mariadb: MariaDb | None = None,
    redis: RedisServer | None = None,
    cores: Sequence[int] = (),
    arguments: Sequence[str] = (),
) -> Iterator[Cluster]:
    """A running cluster with an empty database (and Redis prefix) of its own.

    The embedded backend has one process, whatever `processes` says. The shared one uses `mariadb` and `redis` where
    they are given, else servers of its own, which the test may kill. `arguments` are those of `serve`.
    """
    if backend == "embedded":
        server = ServerProcess(directory, settings or {}, cores=cores, arguments=arguments)
        with _running(Cluster(backend, [server])) as cluster:
            yield cluster
        return
    with ExitStack() as stack:
        mariadb = mariadb or stack.enter_context(MariaDb())
        redis = redis or stack.enter_context(RedisServer())
        database = mysql_database(mariadb)
        common = {
            "ICHAT_MYSQL_HOST": database.host,
            "ICHAT_MYSQL_PORT": str(database.port),
            "ICHAT_MYSQL_USER": database.user,
            "ICHAT_MYSQL_PASSWORD": database.password.get_secret_value(),
            "ICHAT_MYSQL_DBNAME": database.dbname,
            "ICHAT_REDIS_HOST": redis.host,
            "ICHAT_REDIS_PORT": str(redis.port),
            "ICHAT_REDIS_PREFIX": f"t{uuid4().hex[:12]}",
            "ICHAT_JWT_SECRET": SECRET,
            **(settings or {}),
        }
        names = [f"server-{number}" for number in range(processes)]
        servers = [ServerProcess(directory, common, name=name, cores=cores, arguments=arguments) for name in names]
        with _running(Cluster(backend, servers, mariadb, redis)) as cluster:
            yield cluster
        mariadb.drop_database(database.dbname)


@contextmanager
def _running(cluster: Cluster) -> Iterator[Cluster]:
    """Started; at the end stopped in order, and its logs are looked through if the test went well."""
    try:
        cluster.start_and_wait()
        yield cluster
    except BaseException:
        for server in cluster.servers:
            server.kill()
        raise
    cluster.stop()
    cluster.check_logs()
