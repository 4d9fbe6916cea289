"""What the test picture says after it was on its way."""

import numpy as np
import pytest
from av import VideoFrame

from tests.participant.picture import HEIGHT, WIDTH, Luma, Shown, luma_of

SHOWN = Shown(number=5, sequence=70_000)


def drawn() -> Luma:
    return np.array(luma_of(SHOWN.draw()))


@pytest.mark.parametrize("shown", [Shown(0, 0), SHOWN, Shown(99, 1), Shown(255, (1 << 24) - 1)])
def test_a_picture_says_who_and_which(shown: Shown) -> None:
    assert Shown.read(luma_of(shown.draw())) == shown


def test_two_pictures_of_a_sequence_differ_in_many_squares() -> None:
    before, after = luma_of(Shown(3, 8).draw()), luma_of(Shown(3, 9).draw())
    assert (before != after).sum() > 3 * (WIDTH // 8) * (HEIGHT // 6)


@pytest.mark.parametrize("size", [(640, 360), (80, 60), (97, 61)])
def test_it_is_read_in_another_size(size: tuple[int, int]) -> None:
    assert Shown.read(luma_of(SHOWN.draw().reformat(width=size[0], height=size[1]))) == SHOWN


def test_it_is_read_through_noise() -> None:
    noise = np.random.default_rng(1).normal(0, 25, (HEIGHT, WIDTH))
    assert Shown.read(np.clip(drawn() + noise, 0, 255).astype(np.uint8)) == SHOWN


def test_no_picture_of_ours_is_read_as_nothing() -> None:
    for brightness in (0, 16, 128, 235, 255):
        assert Shown.read(np.full((HEIGHT, WIDTH), brightness, dtype=np.uint8)) is None
    assert Shown.read(np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)) is None
    assert Shown.read(luma_of(VideoFrame(16, 16, "yuv420p"))) is None


def test_a_single_wrong_square_spoils_it() -> None:
    for row in range(6):
        for column in range(8):
            luma = drawn()
            luma[row * 20 : row * 20 + 20, column * 20 : column * 20 + 20] ^= 0xFF
            assert Shown.read(luma) is None, (row, column)


def test_a_square_that_isnt_clear_spoils_it() -> None:
    luma = drawn()
    luma[40:60, 40:60] = 120
    assert Shown.read(luma) is None
