"""Leases: exclusive, renewed by themselves, told of when their holder dies."""

import asyncio
import random
from collections import Counter

from server.bus.interface import Bus, Lease
from tests.bus.ground import Ground
from tests.bus.kinds import takes_seconds
from tests.bus.waiting import LIMIT, asked_until, eventually, now

LONG = 30.0
SHORT = 1.5
"""Long enough to be renewed in time on a busy machine."""
BRIEF = 1.0
"""For leases that run out anyway."""
NOTICE = 1.0
"""Seconds from the end of a lease until somebody is told, more or less."""
BUSY = 5.0
"""Seconds that a busy machine may add to anything."""
GROUP = "call:1"


async def taken(bus: Bus, group: str, ttl: float = LONG) -> Lease:
    lease = await bus.acquire(group, ttl)
    assert lease is not None
    return lease


class Told:
    """The leases that ran out, as told on any of the handles."""

    def __init__(self, *handles: Bus, prefix: str = "call:") -> None:
        self.times: Counter[str] = Counter()
        for bus in handles:
            bus.on_lease_expired(prefix, self._hear)

    async def _hear(self, group: str) -> None:
        self.times[group] += 1


async def test_a_lease_is_exclusive_until_it_is_released(ground: Ground) -> None:
    one, other = await ground.handle(), await ground.handle()
    lease = await taken(one, GROUP)
    assert (lease.group, lease.held) == (GROUP, True)
    assert await other.acquire(GROUP, LONG) is None
    assert await one.acquire(GROUP, LONG) is None
    assert (await taken(other, "call:2")).held

    await lease.release()
    await lease.release()
    assert not lease.held
    assert (await taken(other, GROUP)).held
    await lease.release()  # it is another's by now
    assert await one.acquire(GROUP, LONG) is None


async def test_only_one_of_many_gets_it(ground: Ground) -> None:
    handles = [await ground.handle() for _ in range(3)]
    for number in range(10):
        tries = (handles[index % 3].acquire(f"call:{number}", LONG) for index in range(9))
        leases = [lease for lease in await asyncio.gather(*tries) if lease is not None]
        assert len(leases) == 1
        assert leases[0].held


async def test_the_fence_grows_with_every_owner_even_over_a_bus_that_forgot(ground: Ground) -> None:
    handles = [await ground.handle() for _ in range(3)]
    fences = []
    for round_ in range(9):
        lease = await taken(handles[round_ % 3], GROUP)
        fences.append(lease.fence)
        await lease.release()
        if round_ % 3 == 2:
            ground.flush()
    assert fences == sorted(set(fences))


@takes_seconds
async def test_a_lease_is_renewed_for_as_long_as_its_holder_lives(ground: Ground) -> None:
    holding, other = await ground.handle(), await ground.handle()
    told = Told(holding, other)
    lease = await taken(holding, GROUP, SHORT)
    await (await ground.handle()).put("call:9", "marker", b"1", 1.8 * SHORT)

    async def marker_gone() -> bool:
        assert await other.acquire(GROUP, SHORT) is None
        return await other.get("call:9", "marker") is None

    await asked_until(marker_gone)
    assert lease.held
    assert await lease.put("state", b"1", LONG)
    assert not told.times


async def test_a_holder_sets_keys_of_its_group_only_while_it_holds_the_lease(ground: Ground) -> None:
    one, other = await ground.handle(), await ground.handle()
    former = await taken(one, GROUP)
    assert await former.put("state", b"\0 1", LONG)
    assert await other.get(GROUP, "state") == b"\0 1"
    await former.release()
    assert not await former.put("state", b"late", LONG)
    lease = await taken(other, GROUP)
    assert not await former.put("state", b"late", LONG)
    assert await lease.put("state", b"2", LONG)
    assert await one.get(GROUP, "state") == b"2"

    since = now()
    assert await lease.put("short", b"1", 0.5)

    async def gone() -> bool:
        return await one.get(GROUP, "short") is None

    await asked_until(gone)
    assert now() - since >= 0.49


@takes_seconds
async def test_the_death_of_a_holder_is_told_again_until_somebody_acquires_its_lease(ground: Ground) -> None:
    dying, one, other = [await ground.handle() for _ in range(3)]
    told, elsewhere = Told(dying, one, other), Told(other, prefix="sweep:")
    for group in ("call:acquired", "call:forgotten", "sweep:1", "nobody's:1"):
        await taken(dying, group, BRIEF)
    since = now()
    await ground.kill(dying)
    assert await one.acquire("call:acquired", BRIEF) is None

    await eventually(lambda: told.times.keys() == {"call:acquired", "call:forgotten"} and bool(elsewhere.times))
    assert BRIEF - 0.6 < now() - since < BRIEF + NOTICE + BUSY
    await eventually(lambda: min(told.times.values()) >= 2)
    assert set(elsewhere.times) == {"sweep:1"}

    lease = await taken(other, "call:acquired")
    await one.forget_lease("call:forgotten")
    await one.forget_lease("call:unknown")
    before, markers = told.times.copy(), elsewhere.times["sweep:1"]
    await eventually(lambda: elsewhere.times["sweep:1"] >= markers + 2)
    assert all(told.times[group] <= before[group] + 1 for group in before)  # one was perhaps being told
    assert lease.held
    assert (await taken(one, "call:forgotten")).held


@takes_seconds
async def test_a_lease_is_told_of_in_time_though_others_try_to_acquire_it(ground: Ground) -> None:
    dying, other = await ground.handle(), await ground.handle()
    told = Told(other)
    await taken(dying, GROUP, BRIEF)
    await ground.kill(dying)
    since = now()
    assert await other.acquire(GROUP, 600.0) is None
    await eventually(lambda: told.times[GROUP] > 0)
    assert now() - since < BRIEF + NOTICE + BUSY


@takes_seconds
async def test_what_was_released_is_never_told(ground: Ground) -> None:
    """Released at any moment, one by one or by closing the handle."""
    rng = random.Random(1)
    closing, releasing, dying, other = [await ground.handle() for _ in range(4)]
    told = Told(other, prefix="")
    await taken(closing, "call:closed", SHORT)

    async def hold(number: int) -> None:
        await asyncio.sleep(rng.random())
        lease = await taken(releasing, f"call:{number}", SHORT)
        await asyncio.sleep(rng.random())
        await lease.release()

    async with asyncio.timeout(LIMIT):
        await asyncio.gather(closing.close(), *map(hold, range(60)))
    assert (await taken(other, "call:closed")).held
    await taken(dying, "marker:1", SHORT + 0.5)
    await ground.kill(dying)
    await eventually(lambda: told.times["marker:1"] > 0)
    assert set(told.times) == {"marker:1"}


@takes_seconds
async def test_a_lease_that_changes_hands_at_once_is_still_told_of(ground: Ground) -> None:
    """Whoever acquires it just when it is released dies before it was renewed."""
    one, dying, other = [await ground.handle() for _ in range(3)]
    told = Told(other)
    for number in range(20):
        lease = await taken(one, f"call:{number}", BRIEF)

        async def acquire(group: str = lease.group) -> None:
            async with asyncio.timeout(LIMIT):
                while await dying.acquire(group, BRIEF) is None:
                    await asyncio.sleep(0)

        await asyncio.gather(acquire(), lease.release())
    await ground.kill(dying)
    await eventually(lambda: len(told.times) == 20)


@takes_seconds
async def test_a_lease_is_taken_again_with_its_fence_when_the_bus_forgot_it(ground: Ground) -> None:
    one, other = await ground.handle(), await ground.handle()
    told = Told(other)
    lease = await taken(one, GROUP, SHORT)
    fence = lease.fence
    for _ in range(2):
        disruption = asyncio.Event()
        one.on_disruption(disruption.set)
        ground.flush()
        await asyncio.wait_for(disruption.wait(), LIMIT)
        assert await other.acquire(GROUP, SHORT) is None
        assert lease.held
        assert lease.fence == fence
        assert await lease.put("state", b"1", LONG)
    await ground.kill(one)
    await eventually(lambda: told.times[GROUP] > 0)
    assert (await taken(other, GROUP)).fence > fence
