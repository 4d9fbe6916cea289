"""A sine tone for each speaker, and which one is heard in what arrives."""

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from av import AudioFrame

RATE = 48_000
"""Samples a second, as Opus has them (RFC 7587, section 4.1)."""

_LOWEST = 400.0
_STEP = 90.0
_AMPLITUDE = 8_000.0
_NEAR = 45.0
"""Hz around the strongest frequency that count as that tone: half the distance to the next speaker's."""
_SILENCE = 200.0

Samples = npt.NDArray[np.int16]


class Tone(NamedTuple):
    """`frequency` in Hz; `purity`: the tone's share of all energy, from 0 to 1."""

    frequency: float
    purity: float


def frequency_of(number: int) -> float:
    """The tone of the speaker with this number, in Hz."""
    return _LOWEST + _STEP * number


def sine(frequency: float, start: int, count: int) -> Samples:
    """`count` samples of the tone from sample `start` on; it goes on smoothly where the one before ended."""
    phase = 2 * np.pi * frequency / RATE * np.arange(start, start + count)
    return np.asarray(_AMPLITUDE * np.sin(phase), dtype=np.int16)


def samples_of(frame: AudioFrame) -> Samples:
    """The first channel of a frame of packed 16 bit samples."""
    return np.asarray(frame.to_ndarray(), dtype=np.int16).reshape(-1, frame.layout.nb_channels)[:, 0]


def listen(samples: Samples, rate: int = RATE) -> Tone | None:
    """The strongest tone in samples of one channel (20 ms or more); None where there is only silence."""
    if np.sqrt(np.mean(np.square(samples, dtype=np.float64))) < _SILENCE:
        return None
    power = np.square(np.abs(np.fft.rfft(samples * _window(len(samples)))))
    power[0] = 0
    width = rate / len(samples)
    peak = int(np.argmax(power[:-1]))
    frequency = (peak + _between(power, peak)) * width
    near = np.abs(np.arange(len(power)) * width - frequency) <= max(_NEAR, 2 * width)
    return Tone(frequency, float(power[near].sum() / power.sum()))


@cache
def _window(length: int) -> npt.NDArray[np.float64]:
    return np.hanning(length)


def _between(power: npt.NDArray[np.float64], peak: int) -> float:
    """How far the true maximum lies from the bin `peak`, in bins: that of a parabola through the logarithms."""
    left, middle, right = np.log(power[peak - 1 : peak + 2] + 1e-9)
    return float((left - right) / (2 * (left - 2 * middle + right)))
