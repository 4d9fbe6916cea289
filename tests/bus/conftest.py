"""Grounds: each test that takes `ground` runs over every kind of bus."""

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.bus.ground import AnyRedis, Ground
from tests.bus.kinds import KINDS, SERVERS, ground_of


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[str], AnyRedis]]:
    """Gives the servers of a kind, which stay for all tests of this worker; they may be flushed, not stopped."""
    with ExitStack() as stack:
        yield functools.cache(lambda kind: stack.enter_context(SERVERS[kind]()))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def ground(kind: str, servers: Callable[[str], AnyRedis]) -> AsyncIterator[Ground]:
    made = ground_of(kind, servers)
    yield made
    await made.close()
