"""Sessions of two processes on one bus, and Ann, who sends to Ben."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Protocol

import pytest

from server.bus.memory import MemoryBus
from server.config.settings import Sessions
from server.model.entities import Contact
from server.runtime.metrics import Metrics
from server.services import session as session_module
from server.services import sessions as hub_module
from server.services.notifier import Notifier
from server.services.sessions import SessionHub
from server.store import Store
from tests.store.conftest import TestClock
from tests.store.people import pair, say


class OpenHub(Protocol):
    def __call__(self, bus: MemoryBus, **settings: float) -> SessionHub: ...


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "_CHECK_TICK", 0.01)
    monkeypatch.setattr(hub_module, "_CONFIRM_PAUSE", 0.01)
    for module in (hub_module, session_module):
        monkeypatch.setattr(module, "RETRY", 0.01)


@pytest.fixture
async def open_hub(store: Store, clock: TestClock, metrics: Metrics) -> AsyncIterator[OpenHub]:
    """The sessions of a process, by its handle on the bus."""
    async with AsyncExitStack() as stack:

        def make(bus: MemoryBus, **settings: float) -> SessionHub:
            hub = SessionHub(store, bus, clock, Sessions.model_validate(settings), metrics)
            hub.start()
            stack.push_async_callback(hub.close)
            return hub

        yield make


@pytest.fixture
async def sessions(open_hub: OpenHub, bus: MemoryBus) -> SessionHub:
    return open_hub(bus)


@pytest.fixture
async def elsewhere(open_hub: OpenHub, other_bus: MemoryBus) -> SessionHub:
    """Another process."""
    return open_hub(other_bus)


@pytest.fixture
async def notifier(bus: MemoryBus, clock: TestClock, metrics: Metrics) -> AsyncIterator[Notifier]:
    notifier = Notifier(bus, clock, metrics)
    notifier.start()
    yield notifier
    await notifier.close()


@pytest.fixture
async def mine(store: Store) -> Contact:
    """Ann's contact of Ben, who receives."""
    return (await pair(store))[0]


Send = Callable[[int], Awaitable[None]]


@pytest.fixture
def send(store: Store, notifier: Notifier, mine: Contact) -> Send:
    """Ann sends so many, and Ben is told."""

    async def send(count: int) -> None:
        for _ in range(count):
            await notifier.deliver((await say(store, mine)).deliveries)

    return send


@pytest.fixture
def ben(mine: Contact) -> int:
    return mine.user_id
