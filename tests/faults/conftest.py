"""Clusters that these tests may hurt, started once: each test finds everything running again."""

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from tests.support.cluster import BACKENDS, Cluster, open_cluster
from tests.support.register import Register, register_with

IMPATIENT = {"ICHAT_SESSIONS_SILENCE": "3", "ICHAT_SESSIONS_SLOW_READER_TIMEOUT": "1"}
FRAIL = {"ICHAT_MYSQL_TIMEOUT": "2", "ICHAT_SQLITE_TIMEOUT": "1"}


@pytest.fixture(scope="session", params=BACKENDS)
def impatient(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Servers that soon give up on a client who is silent, or doesn't read."""
    mariadb = request.getfixturevalue("mariadb") if request.param == "shared" else None
    directory = tmp_path_factory.mktemp(f"impatient-{request.param}")
    with open_cluster(request.param, directory, mariadb=mariadb, settings=IMPATIENT) as cluster:
        yield cluster


@pytest.fixture
def register_impatient(impatient: Cluster, http: aiohttp.ClientSession) -> Register:
    return register_with(impatient, http)


@pytest.fixture(scope="session", params=BACKENDS)
def _mortal(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp(f"mortal-{request.param}")
    with open_cluster(request.param, directory, settings=FRAIL) as cluster:
        yield cluster


@pytest.fixture
async def mortal(_mortal: Cluster) -> AsyncIterator[Cluster]:
    """Servers, MariaDB and Redis that a test may kill and stall. Statements have 2 s on MariaDB and 1 s on SQLite."""
    yield _mortal
    if _mortal.backend == "shared":
        for part in (_mortal.mariadb, _mortal.redis):
            if part.running:
                part.resume()
            else:
                part.start()
    await _mortal.start()


@pytest.fixture
def register_mortal(mortal: Cluster, http: aiohttp.ClientSession) -> Register:
    return register_with(mortal, http)
