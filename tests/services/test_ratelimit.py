"""Rate limits: counted by all processes together, told exactly, and there without the bus."""

import pytest

from server.bus.memory import MemoryBus
from server.config.settings import Limits, RateLimit
from server.errors import ApiError, ErrorCode
from server.services.ratelimit import RateLimiter
from tests.store.conftest import TestClock

THREE = RateLimit(count=3, seconds=60)


@pytest.fixture
def limiter(bus: MemoryBus, clock: TestClock) -> RateLimiter:
    return RateLimiter(bus, clock, Limits())


async def _left(limiter: RateLimiter, who: str, name: str = "login") -> int:
    """Seconds that one has to wait, 0 if one is let through."""
    try:
        await limiter.hit(THREE, name, who)
    except ApiError as refused:
        assert refused.code is ErrorCode.TOO_MANY
        return int(str(refused.details["seconds"]))
    return 0


async def test_one_too_many_waits_until_the_window_is_over(limiter: RateLimiter, clock: TestClock) -> None:
    # 00:59:59.999: the windows of a minute begin at whole minutes
    assert [await _left(limiter, "ann") for _ in range(5)] == [0, 0, 0, 1, 1]
    clock.advance(0.001)
    assert [await _left(limiter, "ann") for _ in range(4)] == [0, 0, 0, 60]
    clock.advance(29.5)
    assert await _left(limiter, "ann") == 31
    clock.advance(30.5)
    assert await _left(limiter, "ann") == 0


async def test_everybody_and_everything_is_counted_apart(limiter: RateLimiter) -> None:
    assert [await _left(limiter, "ann") for _ in range(4)][-1]
    assert await _left(limiter, "ben") == 0
    assert await _left(limiter, "ann", "upload") == 0


@pytest.mark.parametrize(
    ("one", "same", "other"),
    [
        ("203.0.113.7", "203.0.113.7", "203.0.113.8"),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:3::1"),
        ("203.0.113.7", "::ffff:203.0.113.7", "::ffff:203.0.113.8"),
        ("fe80::1", "fe80::2%eth0", "fe81::1"),
        ("", "", "somewhere"),
    ],
)
async def test_an_address_is_one_of_ipv4_or_a_network_of_ipv6(
    limiter: RateLimiter, one: str, same: str, other: str
) -> None:
    for address in (one, same, one):
        await limiter.hit_address(THREE, "login", address)
    for address in (one, same):
        with pytest.raises(ApiError):
            await limiter.hit_address(THREE, "login", address)
    await limiter.hit_address(THREE, "login", other)


async def test_processes_count_together(limiter: RateLimiter, other_bus: MemoryBus, clock: TestClock) -> None:
    elsewhere = RateLimiter(other_bus, clock, Limits())
    assert [await _left(one, "ann") for one in (limiter, elsewhere, limiter, elsewhere, limiter)] == [0, 0, 0, 1, 1]


async def test_without_the_bus_each_process_counts_for_itself(
    limiter: RateLimiter, bus: MemoryBus, clock: TestClock
) -> None:
    bus.isolate()
    assert [await _left(limiter, "ann") for _ in range(4)] == [0, 0, 0, 1]
    assert await _left(limiter, "ben") == 0
    clock.advance(1)
    assert await _left(limiter, "ann") == 0
    bus.heal()
    assert await _left(limiter, "ann") == 0


async def test_what_is_counted_without_the_bus_has_an_end(limiter: RateLimiter, bus: MemoryBus) -> None:
    bus.isolate()
    assert [await _left(limiter, "ann") for _ in range(4)][-1]
    for number in range(10_000):
        assert await _left(limiter, f"visitor {number}") == 0
    assert await _left(limiter, "ann") == 0, "the oldest is forgotten"
    assert [await _left(limiter, "visitor 9999") for _ in range(3)] == [0, 0, 1], "the newest isn't"


async def test_limits_can_be_switched_off(bus: MemoryBus, clock: TestClock) -> None:
    limiter = RateLimiter(bus, clock, Limits(enabled=False))
    assert [await _left(limiter, "ann") for _ in range(50)] == [0] * 50
