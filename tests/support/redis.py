"""Private Redis servers from Debian's `redis-server`: one, a cluster, or a master watched by sentinels.

    with RedisServer() as server:
        settings = server.settings()

Each is on free loopback ports, in a temporary directory, with nothing saved: killed and started again it is empty.
Everything blocks; inside an event loop call it through `asyncio.to_thread`.
"""

import contextlib
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import redis
from pydantic import SecretStr

from server.config.settings import Redis
from tests.support.certificate import Certificate
from tests.support.process import Private, PrivateServer
from tests.support.server import free_port

_START_TIMEOUT = 30.0
_POLL = 0.02
CLUSTER_NODES = 3
SENTINELS = 3
SERVICE = "mymaster"


def wait_until(condition: Callable[[], bool], what: str, timeout: float = _START_TIMEOUT) -> None:
    """Returns once `condition` holds; an unreachable server counts as no."""
    deadline = time.monotonic() + timeout
    while True:
        with contextlib.suppress(redis.ConnectionError, redis.TimeoutError, redis.ResponseError):
            if condition():
                return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout} s")
        time.sleep(_POLL)


def unique_prefix() -> str:
    return f"t{uuid4().hex[:12]}"


class RedisServer(PrivateServer):
    """One server. It may be stopped, killed, stalled and started again, always on the same port."""

    host = "127.0.0.1"

    def __init__(self, *, password: str = "", tls: bool | Certificate = False, options: Sequence[str] = ()) -> None:
        """`tls`: with a certificate of its own, or this one."""
        super().__init__()
        self._temporary = tempfile.TemporaryDirectory(prefix="redis-")
        self.directory = Path(self._temporary.name)
        self.port = free_port()
        self.password = password
        self.certificate = Certificate(self.directory) if tls is True else tls or None
        self._options = options
        self._counter: _CommandCounter | None = None

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def log_file(self) -> Path:
        return self.directory / "server.log"

    def settings(
        self, *, prefix: str | None = None, timeout: float = 2.0, db: int = 0, port: int | None = None
    ) -> Redis:
        """How to reach it, with a prefix of its own unless one is given. `port`: that of a proxy before it."""
        prefix, port = prefix or unique_prefix(), port or self.port
        if self.certificate is not None:
            url = f"rediss://:{self.password}@{self.host}:{port}/{db}?ssl_ca_certs={self.certificate.cert}"
            return Redis(url=SecretStr(url), prefix=prefix, timeout=timeout)
        password = SecretStr(self.password)
        return Redis(host=self.host, port=port, password=password, db=db, prefix=prefix, timeout=timeout)

    def start(self) -> None:
        """Start it (again) and wait until it answers."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        assert self._process is None, "it runs already"
        ports = ["--port", str(self.port)]
        if self.certificate is not None:
            ports = ["--port", "0", "--tls-port", str(self.port), *self.certificate.redis_options()]
        command = ["redis-server", *ports, "--bind", self.host, "--dir", str(self.directory)]
        command += ["--save", "", "--appendonly", "no", "--logfile", str(self.log_file), *self._options]
        if self.password:
            command += ["--requirepass", self.password]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def wait_ready(self) -> None:
        def answers() -> bool:
            assert self._process is not None
            if self._process.poll() is not None:
                raise RuntimeError(f"redis-server ended:\n{self.log_file.read_text()[-4000:]}")
            return self.execute("PING") in (b"PONG", True)

        wait_until(answers, "redis-server answers")

    def execute(self, *command: str | int) -> Any:
        """What the server answers to one command."""
        with redis.Redis(
            host=self.host,
            port=self.port,
            password=self.password or None,
            socket_timeout=_START_TIMEOUT,
            protocol=2,
            driver_info=None,
            ssl=self.certificate is not None,
            ssl_ca_certs=str(self.certificate.cert) if self.certificate else None,
        ) as client:
            # not through its pool, which takes the tickets that TLS sends for an answer left behind
            connection = client.connection_pool.make_connection()
            try:
                connection.send_command(*command)
                return client.parse_response(connection, command[0])
            finally:
                connection.disconnect()

    def commands(self) -> int:
        """Commands that clients have sent since this was called first; what scripts call isn't counted.

        Counting is done by MONITOR, which costs the server some of its speed.
        """
        if self._counter is None:
            self._counter = _CommandCounter(self.connect(), self.password)
        return self._counter.count

    def connect(self) -> socket.socket:
        """A connection that has said nothing yet."""
        connection = socket.create_connection((self.host, self.port), timeout=_START_TIMEOUT)
        if self.certificate is None:
            return connection
        context = ssl.create_default_context(cafile=str(self.certificate.cert))
        return context.wrap_socket(connection, server_hostname=self.host)

    def flush(self) -> None:
        """Forget everything while it runs."""
        self.execute("FLUSHALL")

    def save(self) -> None:
        """Write everything to disk: what a later `start` begins with."""
        self.execute("SAVE")

    def restart_empty(self) -> None:
        self.kill()
        self.start()

    def cpu_seconds(self) -> float:
        """User and system time of the server process so far."""
        info = self.execute("INFO", "CPU")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

    def remove(self) -> None:
        """End it, whatever its state, and delete what it left."""
        self.kill()
        if self._counter is not None:
            self._counter.close()
        self._temporary.cleanup()


class _CommandCounter:
    """Counts what MONITOR shows, in a thread of its own."""

    def __init__(self, connection: socket.socket, password: str) -> None:
        self.count = 0
        self._socket = connection
        if password:
            self._ask("AUTH", password)
        self._ask("MONITOR")
        self._socket.settimeout(None)
        self._thread = threading.Thread(target=self._run, name="redis-monitor")
        self._thread.start()

    def _ask(self, *parts: str) -> None:
        flat = [b"*%d" % len(parts), *(item for part in parts for item in (b"$%d" % len(part.encode()), part.encode()))]
        self._socket.sendall(b"\r\n".join([*flat, b""]))
        answer = self._socket.recv(64)
        assert answer == b"+OK\r\n", answer

    def _run(self) -> None:
        rest = b""
        with contextlib.suppress(OSError):
            while data := self._socket.recv(1 << 16):
                lines, _, rest = (rest + data).rpartition(b"\n")
                self.count += sum(b" lua] " not in line[:64] for line in lines.splitlines())

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()


class RedisCluster(Private):
    """Three masters that share the slots, without replicas."""

    def __init__(self, *, password: str = "", tls: bool = False) -> None:
        self.password = password
        self.nodes = [RedisServer(password=password, tls=tls, options=self._options(tls))]
        self.certificate = self.nodes[0].certificate
        for _ in range(1, CLUSTER_NODES):
            node = RedisServer(password=password, tls=self.certificate or False, options=self._options(tls))
            self.nodes.append(node)

    @staticmethod
    def _options(tls: bool) -> list[str]:
        return [
            *("--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--cluster-node-timeout", "2000"),
            *("--cluster-require-full-coverage", "no", "--tls-cluster", "yes" if tls else "no"),
        ]

    def start(self) -> None:
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait_ready()
        self._create()

    def _create(self) -> None:
        addresses = [node.address for node in self.nodes]
        options = ["-a", self.password, "--no-auth-warning"] if self.password else []
        if self.certificate:
            options += ["--tls", "--cacert", str(self.certificate.cert)]
        subprocess.run(
            ["redis-cli", *options, "--cluster", "create", *addresses, "--cluster-yes"],
            check=True,
            capture_output=True,
            timeout=_START_TIMEOUT,
        )
        for node in self.nodes:
            wait_until(lambda node=node: self._complete(node), "the cluster is complete")  # type: ignore[misc]

    @staticmethod
    def _complete(node: RedisServer) -> bool:
        info = str(node.execute("CLUSTER", "INFO"))
        return "cluster_state:ok" in info and "cluster_slots_assigned:16384" in info

    def settings(self, *, prefix: str | None = None, timeout: float = 2.0) -> Redis:
        nodes = tuple(node.address for node in self.nodes)
        prefix, password = prefix or unique_prefix(), SecretStr(self.password)
        if self.certificate is None:
            return Redis(mode="cluster", nodes=nodes, password=password, prefix=prefix, timeout=timeout)
        return Redis(
            mode="cluster", nodes=nodes, password=password, tls=True, tls_ca=self.certificate.cert,
            prefix=prefix, timeout=timeout,
        )  # fmt: skip

    def commands(self) -> int:
        """See `RedisServer.commands`: of all nodes."""
        return sum(node.commands() for node in self.nodes)

    def flush(self) -> None:
        for node in self.nodes:
            node.flush()

    def remove(self) -> None:
        for node in self.nodes:
            node.remove()


class RedisSentinels(Private):
    """A master and a replica, watched by three sentinels that replace the master when it is gone."""

    def __init__(self) -> None:
        self.master = RedisServer(options=["--repl-diskless-sync-delay", "0"])
        self.replica = RedisServer(options=["--replicaof", self.master.host, str(self.master.port)])
        self.sentinels = [_Sentinel() for _ in range(SENTINELS)]

    def start(self) -> None:
        self.master.start()
        self.replica.start()
        wait_until(lambda: "online" in str(self.master.execute("INFO", "REPLICATION")), "the replica is in sync")
        for sentinel in self.sentinels:
            sentinel.watch(self.master)
        for sentinel in self.sentinels:
            wait_until(lambda s=sentinel: s.ready(), "the sentinels know each other")  # type: ignore[misc]

    def settings(self, *, prefix: str | None = None, timeout: float = 2.0) -> Redis:
        nodes = tuple(sentinel.address for sentinel in self.sentinels)
        prefix = prefix or unique_prefix()
        return Redis(mode="sentinel", nodes=nodes, sentinel_service=SERVICE, prefix=prefix, timeout=timeout)

    def commands(self) -> int:
        """See `RedisServer.commands`: of the first master."""
        return self.master.commands()

    def flush(self) -> None:
        self.master.flush()

    def fail_over(self) -> None:
        """The master dies; returns once the replica has taken its place."""
        self.master.kill()
        wait_until(lambda: self.replica.execute("ROLE")[0] in (b"master", "master"), "the replica is master")

    def remove(self) -> None:
        for server in (*self.sentinels, self.replica, self.master):
            server.remove()


class _Sentinel(RedisServer):
    def __init__(self) -> None:
        super().__init__()
        self._config = self.directory / "sentinel.conf"

    def watch(self, master: RedisServer) -> None:
        self._config.write_text(
            f"port {self.port}\nbind {self.host}\ndir {self.directory}\nlogfile {self.log_file}\n"
            f"sentinel monitor {SERVICE} {master.host} {master.port} 2\n"
            f"sentinel down-after-milliseconds {SERVICE} 500\nsentinel failover-timeout {SERVICE} 5000\n"
        )
        self.start()

    def launch(self) -> None:
        command = ["redis-server", str(self._config), "--sentinel"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def ready(self) -> bool:
        answer = [bytes(item) for item in self.execute("SENTINEL", "MASTER", SERVICE)]
        master = dict(zip(answer[::2], answer[1::2], strict=True))
        return int(master[b"num-other-sentinels"]) == SENTINELS - 1 and int(master[b"num-slaves"]) == 1
