"""Timers: fired once, by some live process, late rather than never."""

import asyncio
from collections import Counter
from datetime import timedelta

from server.bus.interface import Bus
from server.clock import SystemClock
from tests.bus.ground import Ground
from tests.bus.kinds import takes_seconds
from tests.bus.waiting import eventually

CLOCK = SystemClock()
ROUNDING = timedelta(milliseconds=5)


class Fired:
    """The timers of a kind that fired, on any of its handles; each must have been due."""

    def __init__(self, *handles: Bus, kind: str = "ring") -> None:
        self.timers: list[tuple[str, bytes]] = []
        self.times: dict[str, list[float]] = {}
        self.by: Counter[str] = Counter()
        for bus in handles:
            self.add(bus, kind)

    def add(self, bus: Bus, kind: str = "ring") -> None:
        async def fired(name: str, data: bytes) -> None:
            self.timers.append((name, data))
            self.by[bus.process_id] += 1
            self.times.setdefault(name, []).append(CLOCK.now().timestamp())

        bus.on_timer(kind, fired)

    def names(self) -> list[str]:
        return [name for name, _ in self.timers]


async def set_in(bus: Bus, name: str, seconds: float, data: bytes = b"") -> None:
    await bus.set_timer(name, CLOCK.now() + timedelta(seconds=seconds), data)


async def test_each_fires_once_when_it_is_due_wherever_it_was_set(ground: Ground) -> None:
    handles = [await ground.handle() for _ in range(3)]
    fired, others = Fired(*handles[:2]), Fired(handles[2], kind="other")
    due = {f"ring:{number}": CLOCK.now() + timedelta(milliseconds=15 * number) for number in range(30)}
    for number, (name, when) in enumerate(due.items()):
        await handles[number % 3].set_timer(name, when, b"\0 data of %d" % number)
    await set_in(handles[0], "other:1", 0.0)
    await set_in(handles[0], "ring:last", 0.8, b"")
    await eventually(lambda: "ring:last" in fired.names())
    await eventually(lambda: others.timers == [("other:1", b"")])

    assert len(fired.timers) == 31
    assert set(fired.timers) == {(f"ring:{number}", b"\0 data of %d" % number) for number in range(30)} | {
        ("ring:last", b"")
    }
    for name, when in due.items():
        assert fired.times[name][0] >= (when - ROUNDING).timestamp()


async def test_a_timer_that_is_moved_fires_at_its_last_time_only(ground: Ground) -> None:
    one, other = await ground.handle(), await ground.handle()
    fired = Fired(one, other)
    await set_in(one, "ring:sooner", 3600.0, b"old")
    await set_in(one, "ring:later", 0.3, b"old")
    await set_in(other, "ring:sooner", 0.1, b"new")
    await set_in(other, "ring:later", 3600.0, b"new")
    await set_in(one, "ring:end", 0.6)
    await eventually(lambda: "ring:end" in fired.names())
    assert fired.timers == [("ring:sooner", b"new"), ("ring:end", b"")]


async def test_a_timer_that_is_dropped_doesnt_fire(ground: Ground) -> None:
    one, other = await ground.handle(), await ground.handle()
    fired = Fired(one, other)
    await set_in(one, "ring:dropped", 0.3)
    await set_in(one, "ring:set again", 0.3, b"old")
    await other.drop_timer("ring:dropped")
    await other.drop_timer("ring:set again")
    await other.drop_timer("ring:unknown")
    await set_in(one, "ring:set again", 0.4, b"new")
    await set_in(one, "ring:end", 0.6)
    await eventually(lambda: "ring:end" in fired.names())
    assert fired.timers == [("ring:set again", b"new"), ("ring:end", b"")]


async def test_a_timer_outlives_the_process_that_set_it(ground: Ground) -> None:
    closing, dying, other = [await ground.handle() for _ in range(3)]
    fired = Fired(closing, dying, other)
    await set_in(closing, "ring:1", 0.3, b"1")
    await set_in(dying, "ring:2", 0.3, b"2")
    await ground.kill(dying)
    await closing.close()
    await eventually(lambda: len(fired.timers) == 2)
    assert sorted(fired.timers) == [("ring:1", b"1"), ("ring:2", b"2")]
    assert fired.by == {other.process_id: 2}


async def test_a_handler_may_set_its_timer_again(ground: Ground) -> None:
    bus = await ground.handle()
    rounds: list[bytes] = []

    async def again(name: str, data: bytes) -> None:
        rounds.append(data)
        if len(rounds) < 4:
            await set_in(bus, name, 0.05, b"%d" % len(rounds))

    bus.on_timer("ring", again)
    await set_in(bus, "ring:1", 0.0, b"0")
    await eventually(lambda: len(rounds) == 4)
    assert rounds == [b"0", b"1", b"2", b"3"]


@takes_seconds
async def test_a_timer_fires_again_elsewhere_until_it_is_done(ground: Ground) -> None:
    """And one that is done never again; and one that nobody could fire when it was due fires late."""
    dying, failing, late = [await ground.handle() for _ in range(3)]
    begun = asyncio.Event()
    tries: list[bytes] = []
    done = Fired(failing, kind="done")

    async def never_ends(_name: str, _data: bytes) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def fails_once(_name: str, data: bytes) -> None:
        tries.append(data)
        if len(tries) == 1:
            raise RuntimeError("the first try fails")

    dying.on_timer("dying", never_ends)
    failing.on_timer("failing", fails_once)
    await set_in(dying, "dying:1", 0.0, b"of the dead")
    await set_in(dying, "failing:1", 0.0, b"of the failing")
    await set_in(dying, "late:1", 0.0, b"of nobody")
    await set_in(dying, "done:1", 0.0)
    await eventually(begun.is_set)
    await eventually(lambda: len(tries) == 1 and done.names() == ["done:1"])
    await ground.kill(dying)

    elsewhere, of_nobody = Fired(late, kind="dying"), Fired(late, kind="late")
    await eventually(lambda: elsewhere.timers == [("dying:1", b"of the dead")])
    await eventually(lambda: of_nobody.timers == [("late:1", b"of nobody")])
    await eventually(lambda: len(tries) == 2)
    assert tries == [b"of the failing"] * 2
    assert done.names() == ["done:1"]
