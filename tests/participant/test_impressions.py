"""The checks of what arrives find what is wrong with it."""

import asyncio
import time

import numpy as np
import pytest

from tests.participant.impressions import Ear, Eye, Impression, Record, Verdict
from tests.participant.picture import HEIGHT, WIDTH, Luma, Shown, luma_of
from tests.participant.pulse import Pulse
from tests.participant.tone import RATE, Samples, frequency_of, sine

COUNT = RATE * 60 // 1000
GOOD, NOTHING, FOREIGN, SPOILT = Verdict.GOOD, Verdict.NOTHING, Verdict.FOREIGN, Verdict.SPOILT


def tone(number: int) -> Samples:
    return sine(frequency_of(number), 0, COUNT)


def picture(number: int, sequence: int) -> Luma:
    return luma_of(Shown(number, sequence).draw())


def record(*times: float) -> Record:
    kept = Record()
    for at in times:
        kept.add(GOOD, at)
    return kept


def test_the_longest_gap_is_found_wherever_it_is() -> None:
    times = [10.0, 10.1, 10.2, 11.5, 11.6]
    assert record(*times).between(10, 11.6).gap == pytest.approx(1.3)
    assert record(*times).between(10, 14).gap == pytest.approx(2.4)
    assert record(*times).between(5, 11.6).gap == pytest.approx(5)
    assert record(*times).between(10, 10.2).gap == pytest.approx(0.1)
    assert record().between(3, 7).gap == pytest.approx(4)


def test_what_isnt_good_fills_no_gap() -> None:
    kept = record(1.0, 1.1)
    for at in (1.2, 1.3, 1.4, 1.5):
        kept.add(NOTHING, at)
    kept.add(FOREIGN, 1.6)
    stretch = kept.between(1, 1.6)
    assert stretch.gap == pytest.approx(0.5)
    assert (stretch.good, stretch.bad, stretch.trouble) == (2, 5, {NOTHING: 4, FOREIGN: 1})


def test_only_what_came_within_a_stretch_counts() -> None:
    kept = record(1.0, 2.0, 3.0)
    kept.add(SPOILT, 4.0)
    assert (kept.between(1.5, 3.5).good, kept.between(1.5, 3.5).bad) == (2, 0)
    assert kept.between(3.5, 4.5).trouble == {SPOILT: 1}


def test_an_ear_knows_its_speaker() -> None:
    ear = Ear(4)
    assert ear.take(tone(4), 0.0) is GOOD
    assert ear.take(tone(5), 0.1) is FOREIGN
    assert ear.take(tone(3), 0.2) is FOREIGN
    assert ear.foreign_tones == pytest.approx([frequency_of(5), frequency_of(3)], abs=2)
    assert ear.take(np.zeros(COUNT, dtype=np.int16), 0.3) is NOTHING
    assert ear.take(tone(4) // 2 + tone(5) // 2, 0.4) is SPOILT
    assert ear.record.between(0, 1).counts == {GOOD: 1, NOTHING: 1, FOREIGN: 2, SPOILT: 1}


def test_an_eye_sees_the_picture_move() -> None:
    eye = Eye(2)
    assert [eye.take(picture(2, sequence), 0.0) for sequence in (7, 8, 9)] == [GOOD] * 3
    assert eye.missed == 0


def test_an_eye_sees_a_frozen_picture() -> None:
    eye = Eye(2)
    verdicts = [eye.take(picture(2, 7), number / 10) for number in range(20)]
    assert verdicts == [GOOD, *[NOTHING] * 19]
    assert eye.record.between(0, 2).gap == pytest.approx(2)


def test_an_eye_counts_what_is_left_out() -> None:
    eye = Eye(2)
    assert [eye.take(picture(2, sequence), 0.0) for sequence in (7, 10, 11, 13)] == [GOOD] * 4
    assert eye.missed == 3


def test_an_eye_takes_a_sequence_that_begins_anew() -> None:
    eye = Eye(2)
    assert [eye.take(picture(2, sequence), 0.0) for sequence in (70, 71, 0, 1)] == [GOOD, GOOD, NOTHING, GOOD]
    assert eye.missed == 0


def test_an_eye_knows_its_sender() -> None:
    eye = Eye(2)
    assert eye.take(picture(3, 1), 0.0) is FOREIGN
    assert eye.take(np.full((HEIGHT, WIDTH), 128, dtype=np.uint8), 0.1) is SPOILT


def test_an_impression_tells_when_enough_more_has_come() -> None:
    impression = Impression(1)
    impression.ear.take(tone(1), 0.0)
    enough = impression.ahead(1, 2)
    assert not enough()
    impression.ear.take(tone(1), 0.1)
    impression.eye.take(picture(1, 0), 0.1)
    impression.eye.take(picture(1, 0), 0.2)
    assert not enough()
    impression.eye.take(picture(1, 1), 0.3)
    assert enough()


async def test_a_pulse_tells_when_the_loop_was_held_up() -> None:
    async with Pulse() as pulse:
        await asyncio.sleep(0.1)
        began = time.monotonic()
        time.sleep(0.3)
        ended = time.monotonic()
        await asyncio.sleep(0.1)
    assert pulse.late(began, ended) == pytest.approx(ended - began, abs=0.03)
    assert pulse.late(began + 0.1, ended - 0.1) == pytest.approx(ended - began - 0.2)
    assert pulse.late(ended + 10, ended + 20) == 0
