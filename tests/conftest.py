"""Fixtures of the tests that run the server as real processes. Nothing is started for a test that doesn't ask."""

from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.support.cluster import BACKENDS, Cluster, open_cluster
from tests.support.mariadb import MariaDb
from tests.support.redis import RedisServer
from tests.support.register import Register, register_with

LOG_TAIL = 3_000


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "settings(**environment): more settings for the servers of `own_cluster`")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the servers wrote beside a test that failed."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        for cluster in item.funcargs.values():
            if isinstance(cluster, Cluster):
                report.sections += [(f"log of {server.name}", server.log()[-LOG_TAIL:]) for server in cluster.servers]
    return report


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDb]:
    """A private MariaDB for the tests of this worker that leave it alone; each makes a database of its own in it."""
    with MariaDb() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A private Redis for the tests of this worker that leave it alone; each uses a prefix of its own."""
    with RedisServer() as server:
        yield server


@contextmanager
def _cluster(request: pytest.FixtureRequest, backend: str, directory: Path, **options: object) -> Iterator[Cluster]:
    settings = {key: str(value) for key, value in options.items()}
    mariadb = request.getfixturevalue("mariadb") if backend == "shared" else None
    with open_cluster(backend, directory, mariadb=mariadb, settings=settings) as cluster:
        yield cluster


@pytest.fixture(scope="session", params=BACKENDS)
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A long-lived cluster of each backend, for tests that leave it as it is and register users of their own."""
    with _cluster(request, request.param, tmp_path_factory.mktemp(request.param)) as cluster:
        yield cluster


@pytest.fixture(params=BACKENDS)
def own_cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of each backend for this test alone, which may kill its servers and its Redis (not its MariaDB).

    `pytest.mark.settings(ICHAT_…="…")` sets more settings.
    """
    marker = request.node.get_closest_marker("settings")
    with _cluster(request, request.param, tmp_path, **(marker.kwargs if marker else {})) as cluster:
        yield cluster


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield session


@pytest.fixture
def register(cluster: Cluster, http: aiohttp.ClientSession) -> Register:
    """Registers users at `cluster`; `server=1` is another process than 0 where there is more than one."""
    return register_with(cluster, http)


@pytest.fixture
def register_own(own_cluster: Cluster, http: aiohttp.ClientSession) -> Register:
    """Registers users at `own_cluster`."""
    return register_with(own_cluster, http)
