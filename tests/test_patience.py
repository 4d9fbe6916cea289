"""Time limits that share a timer."""

import asyncio

import pytest

from server.patience import Patience
from tests.virtual import virtual


class TooLate(Exception):
    pass


def _outcome(future: asyncio.Future[str]) -> object:
    return future.exception() or future.result() if future.done() else None


@virtual
async def test_each_waits_as_long_as_any_other() -> None:
    loop = asyncio.get_running_loop()
    patience = Patience(10, TooLate)
    late: list[asyncio.Future[str]] = []
    for _ in range(3):
        late.append(loop.create_future())
        patience.watch(late[-1])
        await asyncio.sleep(4)
    for future, when in zip(late, (10, 14, 18), strict=True):
        with pytest.raises(TooLate):
            await future
        assert loop.time() == pytest.approx(max(when, 12))


@virtual
async def test_what_is_done_in_time_stays_as_it_is() -> None:
    loop = asyncio.get_running_loop()
    patience = Patience(10, TooLate)
    given_up, answered, late = (loop.create_future() for _ in range(3))
    for future in (late, given_up, answered):
        patience.watch(future)
    given_up.cancel()
    answered.set_result("answer")
    await asyncio.sleep(11)
    assert given_up.cancelled()
    assert _outcome(answered) == "answer"
    assert isinstance(_outcome(late), TooLate)


@virtual
async def test_nothing_is_kept_of_what_is_done_and_no_timer_runs_for_nobody() -> None:
    loop = asyncio.get_running_loop()
    made = 0
    real = loop.call_at

    def counting(*args: object, **kwargs: object) -> asyncio.TimerHandle:
        nonlocal made
        made += 1
        return real(*args, **kwargs)  # type: ignore[arg-type]

    patience = Patience(10, TooLate)
    loop.call_at = counting  # type: ignore[method-assign]
    for _ in range(1000):
        future = loop.create_future()
        patience.watch(future)
        future.set_result("answer")
    assert made == 1
    assert len(patience._watched) == 1
    loop.call_at = real  # type: ignore[method-assign]
    await asyncio.sleep(100)
    assert not patience._watched
    assert made == 1
