"""Any order of what readers and posters do to a few mailboxes gives what a simple model says."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest
import uvloop

from server.bus.interface import Address
from tests.bus.ground import AnyRedis, Ground
from tests.bus.kinds import MEMORY, ground_of
from tests.bus.model import Mailboxes

ADDRESSES = [Address("user:1", "phone"), Address("user:1", "laptop"), Address("user:2", "phone")]
HANDLES = 3
STEPS = 80

Step = Callable[[Mailboxes], Coroutine[Any, Any, None]]


def any_step(rng: random.Random) -> Step:
    handle, which, flag = rng.randrange(HANDLES), rng.randrange(len(ADDRESSES)), rng.random() < 0.5
    choices: list[tuple[int, Step]] = [
        (2, partial(Mailboxes.open, handle=handle, which=which, create=flag)),
        (4, partial(Mailboxes.post, handle=handle, which=which, to_all=flag, count=rng.randint(1, 3))),
        (4, partial(Mailboxes.read, which=which, limit=rng.randint(1, 4))),
        (3, partial(Mailboxes.ack, which=which, back=rng.choice((0, 0, 1, 2)), note=flag)),
        (1, partial(Mailboxes.close, which=which, keep=rng.random() < 0.8)),
        (1, partial(Mailboxes.touch_ended, index=rng.randrange(20), keep=flag)),
    ]
    ((_, step),) = rng.choices(choices, [weight for weight, _ in choices])
    return step


@pytest.mark.parametrize(("kind", "runs"), [(MEMORY, 400), ("redis", 40)])
def test_mailboxes_do_what_the_model_says(kind: str, runs: int, servers: Callable[[str], AnyRedis]) -> None:
    for seed in range(runs):
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_play(ground_of(kind, servers), random.Random(seed)))
        except BaseException as error:
            error.add_note(f"with seed {seed}")
            raise


async def _play(ground: Ground, rng: random.Random) -> None:
    try:
        mailboxes = Mailboxes([await ground.handle() for _ in range(HANDLES)], ADDRESSES)
        for _ in range(STEPS):
            await any_step(rng)(mailboxes)
        await mailboxes.check()
    finally:
        await ground.close()
