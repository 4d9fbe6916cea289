"""What the services stand on: a database in a file, a bus in memory, a clock that tests move."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.bus.memory import MemoryBus, MemoryHub
from server.config.settings import Settings
from server.runtime.metrics import Metrics
from server.store import Store
from tests.store.conftest import TestClock, opened
from tests.store.ready import sqlite_settings


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return sqlite_settings(tmp_path)


@pytest.fixture
async def store(settings: Settings, clock: TestClock) -> AsyncIterator[Store]:
    async with opened(settings, clock) as store:
        yield store


@pytest.fixture
def hub() -> MemoryHub:
    """What the processes of a test share."""
    return MemoryHub()


@pytest.fixture
async def bus(hub: MemoryHub, clock: TestClock) -> AsyncIterator[MemoryBus]:
    bus = MemoryBus(hub, clock)
    await bus.start()
    yield bus
    await bus.close()


@pytest.fixture
async def other_bus(hub: MemoryHub, clock: TestClock) -> AsyncIterator[MemoryBus]:
    """Another process' handle."""
    bus = MemoryBus(hub, clock)
    await bus.start()
    yield bus
    await bus.close()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()
