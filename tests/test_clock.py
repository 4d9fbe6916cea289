"""Times as the store and the wire have them: UTC, in whole milliseconds."""

from datetime import UTC, datetime, timedelta, timezone

from server.clock import SystemClock, epoch_millis, from_epoch_millis, to_millis


def test_the_present_is_cut_to_the_millisecond() -> None:
    clock = SystemClock()
    for _ in range(1000):
        before, now, after = datetime.now(UTC), clock.now(), datetime.now(UTC)
        assert now.microsecond % 1000 == 0
        assert now.tzinfo is UTC
        assert before - timedelta(milliseconds=1) < now <= after


def test_milliseconds_come_back_as_they_were() -> None:
    for millis in (0, 1, 999, 1_795_421_730_123, *range(4_102_444_799_000, 4_102_444_800_000, 7)):
        moment = from_epoch_millis(millis)
        assert epoch_millis(moment) == millis
        assert moment == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=millis)


def test_a_moment_of_another_zone_is_cut_in_utc() -> None:
    moment = datetime(2026, 11, 23, 9, 15, 30, 123_999, timezone(timedelta(hours=1)))
    assert to_millis(moment) == datetime(2026, 11, 23, 8, 15, 30, 123_000, UTC)
    assert to_millis(moment).tzinfo is UTC
