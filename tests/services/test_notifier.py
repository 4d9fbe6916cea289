"""Telling sessions: what is posted, and what becomes of it while the bus is away."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from server.bus.interface import Address, BusUnavailable, Mailbox, Post
from server.bus.memory import MemoryBus
from server.clock import epoch_millis
from server.model.entities import Delivery, Message
from server.model.enums import MessageType
from server.runtime.metrics import Metrics
from server.services import notifier as module
from server.services.notifier import FrameMaker, Notifier
from server.wire import notification as wire
from tests.store.conftest import TestClock
from tests.wire.test_objects import CALL, FRIEND, REQUEST, TEXT

ANN, BEN = 1, 2


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test doesn't wait for what a person would."""
    monkeypatch.setattr(module, "RETRY", 0.01)


@pytest.fixture
async def notifier(bus: MemoryBus, clock: TestClock, metrics: Metrics) -> AsyncIterator[Notifier]:
    notifier = Notifier(bus, clock, metrics)
    notifier.start()
    yield notifier
    await notifier.close()


async def _open(bus: MemoryBus, user_id: int, name: str = "device") -> Mailbox:
    return await bus.open_mailbox(Address(wire.session_group(user_id), name), ttl=60, create=True, capacity=50_000)


async def _read(mailbox: Mailbox, count: int) -> list[wire.Queued]:
    entries: list[wire.Queued] = []
    async with asyncio.timeout(10):
        while len(entries) < count:
            entries += [wire.Queued.decode(entry.data) for entry in await mailbox.read()]
    return entries


def _delivery(number: int, receiver: int = BEN) -> Delivery:
    return Delivery(receiver, number, True, TEXT)


async def test_every_session_of_a_receiver_is_told_and_nobody_else(
    notifier: Notifier, bus: MemoryBus, clock: TestClock
) -> None:
    devices = [await _open(bus, ANN), await _open(bus, BEN, "phone"), await _open(bus, BEN, "laptop")]
    stranger = await _open(bus, 3)
    await notifier.deliver([_delivery(5, ANN), _delivery(9, BEN)])
    told = [(await _read(device, 1))[0] for device in devices]
    assert [one.delivery_id for one in told] == [5, 9, 9]
    assert {one.committed_at for one in told} == {epoch_millis(clock.now())}
    assert [json.loads(one.frame)["payload"]["localId"] for one in told] == ["local", "", ""]
    await notifier.contacts([FRIEND])
    await notifier.contact_request(REQUEST)
    await notifier.call_handled(3, 17)
    hints = [(await _read(device, 1))[0] for device in (devices[0], devices[1], stranger)]
    assert [json.loads(hint.frame)["type"] for hint in hints] == [2, 3, 4]
    assert {hint.delivery_id for hint in hints} == {0}


@pytest.mark.parametrize("message", [TEXT, replace(TEXT, type=MessageType.CALL, call=CALL)], ids=["text", "call"])
def test_frames_made_together_are_those_made_one_by_one(message: Message) -> None:
    deliveries = [Delivery(receiver, receiver * 11, new, message) for new in (True, False) for receiver in (1, 2, 3, 2)]
    frames = FrameMaker()
    assert [frames.frame(delivery) for delivery in deliveries] == list(map(wire.message_frame, deliveries))


def test_a_text_that_looks_like_the_end_of_a_frame_stays_a_text() -> None:
    tricky = replace(TEXT, text='"deliveryId":22,"isNew":true}}', local_id='"deliveryId":33')
    frames = FrameMaker()
    for receiver in (2, 3):
        delivery = Delivery(receiver, receiver * 11, True, tricky)
        assert frames.frame(delivery) == wire.message_frame(delivery)


async def test_what_the_bus_does_not_take_comes_later_in_order(
    notifier: Notifier, bus: MemoryBus, other_bus: MemoryBus, metrics: Metrics
) -> None:
    device = await _open(other_bus, BEN)
    await notifier.deliver([_delivery(1)])
    bus.isolate()
    for number in range(2, 1200):
        await notifier.deliver([_delivery(number)])
    assert [one.delivery_id for one in await _read(device, 1)] == [1]
    bus.heal()
    await notifier.deliver([_delivery(1200)])
    assert [one.delivery_id for one in await _read(device, 1199)] == list(range(2, 1201))
    assert _value(metrics, "ichat_posts_deferred_total") == 1199
    assert _value(metrics, "ichat_posts_dropped_total") == 0


async def test_of_too_much_the_oldest_is_dropped_and_counted(
    notifier: Notifier, bus: MemoryBus, other_bus: MemoryBus, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = await _open(other_bus, BEN)
    bus.isolate()
    for start in range(0, 25_000, 5000):
        await notifier.deliver([_delivery(start + number) for number in range(1, 5001)])
    assert _value(metrics, "ichat_posts_dropped_total") == 5000
    monkeypatch.setattr(module, "RETRY", 0.0)
    bus.heal()
    read: list[int] = []
    while not read or read[-1] < 25_000:
        read += [one.delivery_id for one in await _read(device, 1)]
    assert read[0] > 5000
    assert read == list(range(read[0], 25_001))


async def test_a_slow_bus_holds_no_request_up_for_long(
    bus: MemoryBus, clock: TestClock, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = asyncio.Event()
    posted: list[Post] = []

    async def slow(posts: Sequence[Post]) -> list[int]:
        await go_on.wait()
        posted.extend(posts)
        return [1] * len(posts)

    monkeypatch.setattr(bus, "post", slow)
    monkeypatch.setattr(module, "WAIT", 0.01)
    notifier = Notifier(bus, clock, metrics)
    notifier.start()
    async with asyncio.timeout(5):
        await notifier.deliver([_delivery(1)])
    assert posted == []
    go_on.set()
    await notifier.close()
    assert len(posted) == 1


async def test_nobody_is_answered_before_the_bus_has_what_is_told(
    notifier: Notifier, bus: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those who come while a batch is under way share the next one."""
    real = bus.post
    batches: list[int] = []
    go_on = asyncio.Semaphore(0)

    async def slow(posts: Sequence[Post]) -> list[int]:
        batches.append(len(posts))
        await go_on.acquire()
        return await real(posts)

    monkeypatch.setattr(bus, "post", slow)
    monkeypatch.setattr(module, "WAIT", 3600)
    device = await _open(bus, BEN)
    first, *others = [asyncio.create_task(notifier.deliver([_delivery(number)])) for number in range(1, 6)]
    async with asyncio.timeout(10):
        while not batches:
            await asyncio.sleep(0)
        last = asyncio.create_task(notifier.deliver([_delivery(6)]))
        await asyncio.sleep(0)
        assert not first.done()
        go_on.release()
        await asyncio.gather(first, *others)
        assert not last.done()
        go_on.release()
        await last
    assert batches == [5, 1]
    assert [one.delivery_id for one in await _read(device, 6)] == [1, 2, 3, 4, 5, 6]


async def test_posts_that_fail_do_not_hold_up_those_behind_them(
    notifier: Notifier,
    bus: MemoryBus,
    metrics: Metrics,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    device = await _open(bus, BEN)
    real = bus.post
    failures = iter([True])

    async def broken(posts: Sequence[Post]) -> list[int]:
        if next(failures, False):
            raise ValueError("a defect")
        return await real(posts)

    monkeypatch.setattr(bus, "post", broken)
    await notifier.deliver([_delivery(1)])
    await notifier.deliver([_delivery(2)])
    assert [one.delivery_id for one in await _read(device, 1)] == [2]
    assert _value(metrics, "ichat_posts_dropped_total") == 1
    assert "a defect" in caplog.text


async def test_what_waits_at_the_end_is_tried_once_more(
    bus: MemoryBus, other_bus: MemoryBus, clock: TestClock, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY", 3600)
    device = await _open(other_bus, BEN)
    notifier = Notifier(bus, clock, metrics)
    notifier.start()
    bus.isolate()
    await notifier.deliver([_delivery(1), _delivery(2)])
    bus.heal()
    await notifier.close()
    assert [one.delivery_id for one in await _read(device, 2)] == [1, 2]
    lost = Notifier(bus, clock, metrics)
    lost.start()
    bus.isolate()
    await lost.deliver([_delivery(3)])
    await lost.close()
    assert _value(metrics, "ichat_posts_dropped_total") == 1
    async with asyncio.timeout(5):
        await lost.deliver([_delivery(4)])


async def test_an_answer_that_was_lost_is_tried_again(
    notifier: Notifier, bus: MemoryBus, other_bus: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have arrived: sessions take what they know already for nothing."""
    device = await _open(other_bus, BEN)
    real = bus.post
    failures = iter([True])

    async def lossy(posts: Sequence[Post]) -> list[int]:
        taken = await real(posts)
        if next(failures, False):
            raise BusUnavailable("no answer")
        return taken

    monkeypatch.setattr(bus, "post", lossy)
    await notifier.deliver([_delivery(1)])
    assert [one.delivery_id for one in await _read(device, 2)] == [1, 1]


def _value(metrics: Metrics, name: str) -> float | None:
    return metrics.registry.get_sample_value(name)


def test_times_of_commits_are_kept_to_the_millisecond() -> None:
    assert epoch_millis(datetime(2026, 11, 23, 8, 15, 30, 123_000, UTC)) == 1_795_421_730_123
