"""Private MariaDB servers from Debian's `mariadbd`: on a free port, in a directory of their own.

    with MariaDb(directory) as server:
        settings = Settings(mysql=server.create_database())

Everything blocks; inside an event loop call it through `asyncio.to_thread`.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pymysql
from pydantic import SecretStr

from server.config.settings import Mysql
from tests.support.process import PrivateServer
from tests.support.server import free_port

USER = "ichat"
PASSWORD = "pa:ss@w/rd%+"
TIME_ZONE = "Europe/Berlin"
"""Of every server: not UTC, and with daylight saving, so that a mistake with times shows."""

_START_TIMEOUT = 60.0
_MEMORY = 2**32
"""Bytes that must be free for a server's files to lie in memory."""
_OPTIONS = (  # small, but as durable as a real one
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=16M",
    "--innodb-flush-log-at-trx-commit=1",
    "--max-connections=200",
    "--character-set-server=utf8mb4",
    "--collation-server=utf8mb4_general_ci",
)


class MariaDb(PrivateServer):
    """One server. It is made from a template that is initialised once for each machine and server version."""

    host = "127.0.0.1"
    stop_timeout = 30.0

    def __init__(self, directory: Path | None = None) -> None:
        """`directory` is new or empty; None for a temporary one that `remove` deletes."""
        super().__init__()
        self._temporary = tempfile.TemporaryDirectory(prefix="mariadb-", dir=_fast()) if directory is None else None
        self._directory = Path(self._temporary.name) if self._temporary else directory or Path()
        # A socket's path may be 107 bytes long, so it can't always lie beside the data.
        self._socket = Path(tempfile.gettempdir()) / f"mariadb-{uuid4().hex[:12]}.sock"
        self.port = 0

    @property
    def data(self) -> Path:
        return self._directory / "data"

    @property
    def log(self) -> Path:
        return self._directory / "server.log"

    def start(self) -> None:
        if not self.data.exists():
            shutil.copytree(_template(), self.data)
        for _ in range(5):
            self._launch(self.port or free_port())
            if self._wait_until_ready():
                return
        raise RuntimeError(f"mariadbd didn't start:\n{self.log.read_text()[-4000:]}")

    def _launch(self, port: int) -> None:
        self.port = port
        # of its own: a server that starts deletes what looks like its temporary tables, also those of others
        temporary = self._directory / "tmp"
        temporary.mkdir(exist_ok=True)
        command = [
            "mariadbd",
            "--no-defaults",
            f"--datadir={self.data}",
            f"--socket={self._socket}",
            f"--pid-file={self._directory / 'server.pid'}",
            f"--tmpdir={temporary}",
            f"--port={port}",
            *_OPTIONS,
            *_as_root(),
        ]
        with self.log.open("ab") as log:
            environment = {**os.environ, "TZ": TIME_ZONE}
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def _wait_until_ready(self) -> bool:
        assert self._process is not None
        deadline = time.monotonic() + _START_TIMEOUT
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                self._admin().close()
            except pymysql.err.OperationalError:
                time.sleep(0.02)
            else:
                return True
        self.kill()
        return False

    def _admin(self) -> "pymysql.Connection[Any]":
        where = {"host": self.host, "port": self.port, "user": "root"}
        return pymysql.connect(**where, autocommit=True, connect_timeout=5, ssl_disabled=True)  # TLS costs 20 ms

    def execute(self, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
        """As the administrator, outside of any database."""
        with self._admin() as connection, connection.cursor() as cursor:
            cursor.execute(sql, arguments)
            return list(cursor.fetchall())

    def create_database(self, name: str | None = None, *, timeout: float = 5.0) -> Mysql:
        """A new empty database and how to reach it."""
        name = name or f"test_{uuid4().hex[:16]}"
        self.execute(f"CREATE DATABASE `{name}`")
        return self.settings(name, timeout=timeout)

    def drop_database(self, name: str) -> None:
        self.execute(f"DROP DATABASE IF EXISTS `{name}`")

    def settings(self, name: str, *, timeout: float = 5.0) -> Mysql:
        return Mysql(
            host=self.host, port=self.port, user=USER, password=SecretStr(PASSWORD), dbname=name, timeout=timeout
        )

    def kill(self) -> None:
        super().kill()
        self._socket.unlink(missing_ok=True)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.data, ignore_errors=True)
        if self._temporary is not None:
            self._temporary.cleanup()


def _fast() -> Path | None:
    """Memory, if there is enough: killing the server loses nothing of it, and tables are made three times as fast."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > _MEMORY else None


def _as_root() -> list[str]:
    return ["--user=root"] if os.geteuid() == 0 else []


def _template() -> Path:
    """A freshly initialised data directory, made by the first who asks; copied, never used."""
    version = subprocess.run(["mariadbd", "--version"], capture_output=True, text=True, check=True).stdout
    tag = "".join(character if character.isalnum() else "-" for character in version.split("Ver ")[1].split(" ")[0])
    directory = Path(tempfile.gettempdir()) / f"ichat-mariadb-template-{os.geteuid()}-{tag}"
    with directory.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.exists():
            making = directory.with_suffix(".making")
            shutil.rmtree(making, ignore_errors=True)
            _initialise(making)
            making.rename(directory)
    return directory


def _initialise(directory: Path) -> None:
    subprocess.run(
        [
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={directory}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--innodb-log-file-size=16M",
            *_as_root(),
        ],
        check=True,
        capture_output=True,
    )
    bootstrap = (
        "USE mysql;\nFLUSH PRIVILEGES;\n"
        f"CREATE USER '{USER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
        f"GRANT ALL ON *.* TO '{USER}'@'127.0.0.1';\n"
    )
    subprocess.run(
        ["mariadbd", "--no-defaults", "--bootstrap", f"--datadir={directory}", *_OPTIONS, *_as_root()],
        input=bootstrap.encode(),
        check=True,
        capture_output=True,
    )
