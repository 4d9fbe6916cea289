"""A thousand minutes of trouble. A seed that fails prints the story of its run; `simulate(seed)` plays it again."""

import gc
import logging
from collections.abc import Iterator

import pytest

from tests.calls.simulation import run
from tests.calls.simulation.run import simulate

CHUNK = 50


@pytest.fixture(autouse=True)
def _fast() -> Iterator[None]:
    """No garbage collection within a run, and no records of the troubles that are made on purpose."""
    logging.disable(logging.WARNING)
    gc.disable()
    yield
    gc.enable()
    gc.collect()
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("first", range(0, 1000, CHUNK))
def test_calls_survive_any_trouble(first: int) -> None:
    for seed in range(first, first + CHUNK):
        simulate(seed)


def test_a_seed_plays_again_exactly() -> None:
    for seed in (3, 17):
        assert simulate(seed) == simulate(seed)


def test_a_run_that_fails_tells_its_story(monkeypatch: pytest.MonkeyPatch) -> None:
    diary = simulate(3)
    monkeypatch.setattr(run, "leftovers", lambda world: ["a ghost"])
    monkeypatch.setattr(run, "END", 100.0)
    with pytest.raises(run.SimulationFailed) as failed:
        simulate(3)
    lines = str(failed.value).splitlines()
    assert lines[0] == "seed 3:"
    assert lines[1:11] == [f"{when:9.3f}  {text}" for when, text in diary[:10]]
    assert "a ghost" in lines[-1]
