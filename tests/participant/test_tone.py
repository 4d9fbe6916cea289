"""Which tone is heard."""

import numpy as np
import pytest

from tests.participant.tone import RATE, Samples, frequency_of, listen, sine

SIXTY_MS = RATE * 60 // 1000


def part(samples: Samples, share: float) -> Samples:
    return np.asarray(samples * share, dtype=np.int16)


@pytest.mark.parametrize("number", [0, 1, 7, 50, 99])
@pytest.mark.parametrize("milliseconds", [20, 60])
def test_the_tone_of_a_speaker_is_heard(number: int, milliseconds: int) -> None:
    tone = listen(sine(frequency_of(number), 12_345, RATE * milliseconds // 1000))
    assert tone is not None
    assert tone.frequency == pytest.approx(frequency_of(number), abs=2)
    assert tone.purity > 0.99


def test_a_tone_at_another_rate_is_heard_as_what_it_is() -> None:
    tone = listen(sine(1_200.0, 0, 480), rate=RATE // 2)
    assert tone is not None
    assert tone.frequency == pytest.approx(600, abs=2)


def test_a_tone_goes_on_smoothly_over_its_parts() -> None:
    parts = [sine(413.0, start, 500) for start in range(0, 3_000, 500)]
    assert np.array_equal(np.concatenate(parts), sine(413.0, 0, 3_000))


def test_silence_is_no_tone() -> None:
    assert listen(np.zeros(SIXTY_MS, dtype=np.int16)) is None
    assert listen(part(sine(400.0, 0, SIXTY_MS), 0.01)) is None
    assert listen(np.full(SIXTY_MS, 20, dtype=np.int16)) is None


def test_two_speakers_at_once_are_no_pure_tone() -> None:
    tone = listen(part(sine(400.0, 0, SIXTY_MS), 0.5) + part(sine(490.0, 0, SIXTY_MS), 0.5))
    assert tone is not None
    assert tone.purity < 0.6


def test_noise_is_no_pure_tone() -> None:
    noise = np.random.default_rng(1).normal(0, 3_000, SIXTY_MS)
    tone = listen(np.asarray(noise, dtype=np.int16))
    assert tone is not None
    assert tone.purity < 0.2
