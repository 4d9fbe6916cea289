"""Many deadlines on one timer, on the event loops that they meet: asyncio's own and uvloop's."""

import asyncio
from collections.abc import Callable

import pytest
import uvloop

from server.calls.deadlines import Deadlines

LOOPS = (asyncio.new_event_loop, uvloop.new_event_loop)


@pytest.fixture(params=LOOPS, ids=("asyncio", "uvloop"))
def run(request: pytest.FixtureRequest) -> Callable[..., None]:
    def run(scenario: Callable[[], object]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(scenario())  # type: ignore[arg-type]

    return run


class Fired:
    def __init__(self) -> None:
        self.keys: list[str] = []
        self.deadlines: Deadlines[str] = Deadlines(self._fire)
        self._changed = asyncio.Event()

    def _fire(self, key: str) -> None:
        self.keys.append(key)
        self._changed.set()

    async def wait_for(self, *keys: str) -> None:
        async with asyncio.timeout(10):
            while self.keys != list(keys):
                self._changed.clear()
                await self._changed.wait()


def test_they_fire_in_their_order_whatever_the_order_of_setting(run: Callable[..., None]) -> None:
    async def scenario() -> None:
        fired, now = Fired(), asyncio.get_running_loop().time()
        fired.deadlines.set("third", now + 0.03)
        fired.deadlines.set("first", now + 0.01)
        fired.deadlines.set("second", now + 0.02)
        await fired.wait_for("first", "second", "third")
        assert len(fired.deadlines) == 0

    run(scenario)


def test_what_is_due_already_fires_at_once_beside_what_is_set_after_it(run: Callable[..., None]) -> None:
    async def scenario() -> None:
        fired, now = Fired(), asyncio.get_running_loop().time()
        fired.deadlines.set("past", now - 1)
        fired.deadlines.set("now", now)
        fired.deadlines.set("soon", now + 0.01)
        fired.deadlines.set("long past", now - 2)
        await fired.wait_for("long past", "past", "now", "soon")

    run(scenario)


def test_a_moved_deadline_fires_once_and_a_dropped_one_never(run: Callable[..., None]) -> None:
    async def scenario() -> None:
        fired, now = Fired(), asyncio.get_running_loop().time()
        fired.deadlines.set("later", now + 0.01)
        fired.deadlines.set("later", now + 0.04)
        fired.deadlines.set("earlier", now + 5)
        fired.deadlines.set("earlier", now + 0.02)
        fired.deadlines.set("dropped", now + 0.01)
        fired.deadlines.drop("dropped")
        fired.deadlines.set("last", now + 0.05)
        await fired.wait_for("earlier", "later", "last")

    run(scenario)


def test_nothing_fires_after_the_close(run: Callable[..., None]) -> None:
    async def scenario() -> None:
        fired, loop = Fired(), asyncio.get_running_loop()
        fired.deadlines.set("never", loop.time() + 0.005)
        fired.deadlines.close()
        passed = asyncio.Event()
        loop.call_at(loop.time() + 0.02, passed.set)
        await passed.wait()
        assert fired.keys == []

    run(scenario)
