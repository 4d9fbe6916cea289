"""What a benchmark runs on: one server process on a core of its own, everything else on the other core."""

import argparse
import asyncio
import os
import platform
import resource
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import aiohttp
import uvloop

from tests.bench.table import Table
from tests.bench.wire import together
from tests.support.api import Api
from tests.support.cluster import Cluster, open_cluster

BACKENDS = ("shared", "embedded")
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORES, OTHER_CORES = CORES[:1], CORES[1:2] or CORES
PASSWORD = "secret1"


@dataclass(frozen=True, slots=True)
class Person:
    user_id: int
    token: str


class Rig:
    """Server processes (one, unless more were asked for), and people who have registered with them."""

    def __init__(self, cluster: Cluster, http: aiohttp.ClientSession) -> None:
        self.cluster = cluster
        self.backend = {"embedded": "embedded (SQLite, memory)", "shared": "MariaDB + Redis"}[cluster.backend]
        self.server = cluster.servers[0]
        self.port = self.server.port
        self._http = http

    def api(self, person: Person | None = None, server: int = 0) -> Api:
        return Api(self._http, self.cluster.servers[server].base, person.token if person else "")

    async def people(self, count: int) -> list[Person]:
        async def register(_: int) -> Person:
            login = await self.api().register(uuid4().hex[:20], PASSWORD, "Somebody")
            return Person(login.user_id, login.token)

        return await together(count, 20, register)

    async def befriend(self, one: Person, other: Person) -> tuple[int, int]:
        """Make them contacts: the contact's id for the one and for the other."""
        request = await self.api(one).ask(other.user_id)
        await self.api(other).accept(request["id"])
        return await self._contact_id(one, other), await self._contact_id(other, one)

    async def _contact_id(self, owner: Person, other: Person) -> int:
        lines = await self.api(owner).contacts()
        return next(int(line["contactId"]) for line in lines if line["userId"] == other.user_id)

    def cpu_seconds(self) -> float:
        """User and system time of the server process so far."""
        return cpu_seconds(self.server.pid)

    def memory(self) -> int:
        """Bytes of resident memory of the server process."""
        return int(Path(f"/proc/{self.server.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def redis_commands(self) -> int:
        """Commands that Redis has carried out so far; 0 where there is none."""
        return self.cluster.redis_commands()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def open_rig(backend: str, settings: dict[str, str] | None = None, processes: int = 1) -> AsyncIterator[Rig]:
    """Fresh servers on `backend` with no rate limits and cheap password hashes."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as directory,
        open_cluster(
            backend, Path(directory), processes=processes, settings=settings or {}, cores=SERVER_CORES
        ) as cluster,
    ):
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=50)) as http:
            yield Rig(cluster, http)


def describe_machine() -> str:
    cores = f"server on core {SERVER_CORES}, generator, MariaDB and Redis on core {OTHER_CORES}"
    return f"Python {platform.python_version()}, {len(CORES)} cores ({cores})."


def run_alone(run: Callable[[], Awaitable[list[Table]]]) -> list[Table]:
    """Run a benchmark on the generator's core, with enough file descriptors."""
    os.sched_setaffinity(0, OTHER_CORES)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    async def awaited() -> list[Table]:
        return await run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(awaited())


def main(run: Callable[[], Awaitable[list[Table]]]) -> None:
    """The command line of one benchmark."""
    argparse.ArgumentParser(description=run.__doc__).parse_args()
    print(describe_machine(), end="\n\n")
    for table in run_alone(run):
        print(table.markdown())
