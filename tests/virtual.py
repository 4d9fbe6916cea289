"""Tests in virtual time: what takes minutes takes no time."""

import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

from tests.calls.simulation.loop import VirtualLoop, run_virtually

P = ParamSpec("P")


def virtual(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Makes a plain test of an asynchronous one, which runs in a loop of its own whose time passes by itself."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        run_virtually(VirtualLoop(), test(*args, **kwargs))

    del run.__wrapped__  # else it is taken for asynchronous
    return run
