"""Keys: small values, claims, counters and sets with a time to live."""

import asyncio
from collections.abc import Awaitable, Callable

from server.bus.interface import Bus
from tests.bus.ground import Ground
from tests.bus.waiting import asked_until, now

LONG = 30.0
SHORT = 0.5
ROUNDING = 0.01
GROUP = "user:1"


async def _vanishes(question: Callable[[], Awaitable[object]], since: float, ttl: float) -> None:
    """`question` gives something until `ttl` seconds have passed `since`, then nothing."""

    async def nothing() -> bool:
        return not await question()

    await asked_until(nothing)
    assert now() - since >= ttl - ROUNDING


async def test_a_value_is_there_for_all_until_it_is_deleted(ground: Ground) -> None:
    one, other = await ground.handle(), await ground.handle()
    assert await one.get(GROUP, "login") is None
    await one.put(GROUP, "login", b"\0\xff value", LONG)
    await one.put(GROUP, "empty", b"", LONG)
    assert await other.get(GROUP, "login") == b"\0\xff value"
    assert await other.get(GROUP, "empty") == b""
    assert await other.get("user:2", "login") is None
    assert await other.get(GROUP, "log") is None
    await other.put(GROUP, "login", b"newer", LONG)
    assert await one.get(GROUP, "login") == b"newer"

    await one.put(GROUP, "third", b"stays", LONG)
    await other.delete(GROUP, "login", "empty", "unknown")
    await other.delete(GROUP)
    assert [await one.get(GROUP, key) for key in ("login", "empty", "third")] == [None, None, b"stays"]


async def test_a_value_vanishes_after_its_time_to_live(ground: Ground) -> None:
    one, other = await ground.handle(), await ground.handle()
    await one.put(GROUP, "renewed", b"1", SHORT)
    await one.put(GROUP, "shortened", b"1", LONG)
    since = now()
    await one.put(GROUP, "short", b"1", SHORT)
    await one.put(GROUP, "shortened", b"2", SHORT)
    await one.put(GROUP, "renewed", b"2", LONG)
    await _vanishes(lambda: other.get(GROUP, "short"), since, SHORT)
    await _vanishes(lambda: other.get(GROUP, "shortened"), since, SHORT)
    assert await other.get(GROUP, "renewed") == b"2"


async def test_a_claim_is_its_holders_until_it_is_given_up(ground: Ground) -> None:
    one, other = await ground.handle(), await ground.handle()
    assert await one.claim(GROUP, "call", b"7", LONG) == b"7"
    assert await other.claim(GROUP, "call", b"8", LONG) == b"7"
    assert await other.claim(GROUP, "call", b"7", LONG) == b"7"
    assert await other.claim("user:2", "call", b"8", LONG) == b"8"
    assert await other.get(GROUP, "call") == b"7"

    assert not await other.unclaim(GROUP, "call", b"8")
    assert not await other.unclaim(GROUP, "unknown", b"7")
    assert await other.get(GROUP, "call") == b"7"
    assert await other.unclaim(GROUP, "call", b"7")
    assert await one.get(GROUP, "call") is None
    assert await other.claim(GROUP, "call", b"8", LONG) == b"8"


async def test_a_claim_runs_out_unless_it_is_renewed(ground: Ground) -> None:
    one, other = await ground.handle(), await ground.handle()
    await one.claim(GROUP, "renewed", b"7", SHORT)
    await one.claim(GROUP, "left", b"7", SHORT)
    since = now()
    await one.claim(GROUP, "renewed", b"7", LONG)
    await one.claim(GROUP, "left", b"8", LONG)  # refused: it renews nothing
    await one.claim(GROUP, "last", b"7", SHORT)
    await _vanishes(lambda: other.get(GROUP, "last"), since, SHORT)
    assert await other.claim(GROUP, "left", b"8", LONG) == b"8"
    assert await other.claim(GROUP, "renewed", b"8", LONG) == b"7"


async def test_only_one_of_many_claims_wins(ground: Ground) -> None:
    handles = [await ground.handle() for _ in range(3)]
    for number in range(10):
        tries = [(handles[index % 3], b"%d" % index) for index in range(9)]
        group = f"user:{number}"
        values = await asyncio.gather(*(bus.claim(group, "call", value, LONG) for bus, value in tries))
        assert len(set(values)) == 1
        assert await handles[0].get(group, "call") == values[0]


async def test_many_claims_are_renewed_together(ground: Ground) -> None:
    one, other = await ground.handle(), await ground.handle()
    groups = [f"user:{number}" for number in range(900)]
    for group in groups[:3]:
        await other.claim(group, "call", b"8", LONG)
    await one.claim(groups[3], "call", b"7", SHORT)
    since = now()
    await one.claim("user:marker", "call", b"7", SHORT)
    before = ground.commands() if ground.counts else 0
    await one.claim_many(groups, "call", b"7", LONG)
    if ground.counts and not ground.shards:
        assert ground.commands() - before < len(groups) / 10
    await one.claim_many([], "call", b"7", LONG)
    await _vanishes(lambda: one.get("user:marker", "call"), since, SHORT)
    values = [await other.get(group, "call") for group in groups]
    assert values == [b"8"] * 3 + [b"7"] * 897


async def test_a_counter_counts_each_once_and_vanishes_after_its_making(ground: Ground) -> None:
    handles = [await ground.handle() for _ in range(3)]
    counts = await asyncio.gather(*(handles[number % 3].increment(GROUP, "tries", LONG) for number in range(60)))
    assert sorted(counts) == list(range(1, 61))
    assert await handles[0].increment("user:2", "tries", LONG) == 1
    await handles[1].delete(GROUP, "tries")
    assert await handles[2].increment(GROUP, "tries", LONG) == 1

    since, last = now(), 0

    async def begun_anew() -> bool:
        nonlocal last
        before, last = last, await handles[0].increment(GROUP, "short", SHORT)
        assert last in (1, before + 1)
        return last == 1 and before > 0

    await asked_until(begun_anew)
    assert now() - since >= SHORT - ROUNDING


async def test_a_set_has_the_members_that_were_added(ground: Ground) -> None:
    one, other = await ground.handle(), await ground.handle()
    assert await one.members(GROUP, "calls") == set()
    for member in ("7", "8", "neun ü", "7"):
        await one.add_member(GROUP, "calls", member, LONG)
    assert await other.members(GROUP, "calls") == {"7", "8", "neun ü"}
    assert await other.members("user:2", "calls") == set()
    await other.remove_member(GROUP, "calls", "7")
    await other.remove_member(GROUP, "calls", "unknown")
    await other.remove_member(GROUP, "unknown", "7")
    assert await one.members(GROUP, "calls") == {"8", "neun ü"}
    await one.delete(GROUP, "calls")
    assert await other.members(GROUP, "calls") == set()


async def test_a_set_vanishes_unless_a_member_is_added(ground: Ground) -> None:
    one, other = await ground.handle(), await ground.handle()
    await one.add_member(GROUP, "renewed", "7", SHORT)
    since = now()
    await one.add_member(GROUP, "left", "7", SHORT)
    await one.add_member(GROUP, "renewed", "8", LONG)
    await one.remove_member(GROUP, "left", "8")  # renews nothing
    await _vanishes(lambda: other.members(GROUP, "left"), since, SHORT)
    assert await other.members(GROUP, "renewed") == {"7", "8"}


async def test_keys_outlive_the_process_that_set_them(ground: Ground) -> None:
    closing, dying, other = [await ground.handle() for _ in range(3)]
    await closing.put(GROUP, "one", b"1", LONG)
    await dying.claim(GROUP, "two", b"2", LONG)
    await closing.close()
    await ground.kill(dying)
    assert await other.get(GROUP, "one") == b"1"
    assert await other.get(GROUP, "two") == b"2"


async def test_every_handle_has_a_name_of_its_own(ground: Ground) -> None:
    handles: list[Bus] = [await ground.handle() for _ in range(5)]
    assert len({bus.process_id for bus in handles}) == 5
    for bus in handles:
        assert bus.process_id == bus.process_id != ""
        assert 0 <= await bus.ping() < LONG
