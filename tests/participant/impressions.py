"""What somebody hears and sees of one other: each frame is judged, and when it came is kept."""

from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from tests.participant.picture import Luma, Shown
from tests.participant.tone import RATE, Samples, frequency_of, listen

_PURE = 0.8
_IN_TUNE = 20.0
"""Hz."""


class Verdict(Enum):
    """Of one frame."""

    GOOD = "good"
    NOTHING = "silent or frozen"
    FOREIGN = "somebody else's"
    SPOILT = "unreadable"


@dataclass(frozen=True, slots=True)
class Stretch:
    """What came within some seconds. `gap`: the longest time without a good frame, in seconds."""

    counts: dict[Verdict, int]
    gap: float
    seconds: float

    @property
    def good(self) -> int:
        return self.counts[Verdict.GOOD]

    @property
    def trouble(self) -> dict[Verdict, int]:
        return _trouble(self.counts)

    @property
    def bad(self) -> int:
        return sum(self.trouble.values())


class Record:
    """When frames came, by verdict. Times are seconds of one clock and are added as they pass."""

    def __init__(self) -> None:
        self._times = {verdict: array("d") for verdict in Verdict}

    def add(self, verdict: Verdict, at: float) -> Verdict:
        self._times[verdict].append(at)
        return verdict

    @property
    def good(self) -> int:
        return len(self._times[Verdict.GOOD])

    @property
    def trouble(self) -> dict[Verdict, int]:
        return _trouble({verdict: len(times) for verdict, times in self._times.items()})

    def between(self, since: float, until: float) -> Stretch:
        counts = {verdict: sum(since <= at <= until for at in times) for verdict, times in self._times.items()}
        gap = max(end - start for start, end in self.gaps(since, until))
        return Stretch(counts, gap, until - since)

    def gaps(self, since: float, until: float) -> Iterator[tuple[float, float]]:
        """When there was no good frame, from one to the next; also before the first and after the last."""
        return pairwise([since, *(at for at in self._times[Verdict.GOOD] if since <= at <= until), until])


def _trouble(counts: Mapping[Verdict, int]) -> dict[Verdict, int]:
    """The verdicts that aren't good, where there were any."""
    return {verdict: count for verdict, count in counts.items() if count and verdict is not Verdict.GOOD}


class Ear:
    """Listens for the tone of the speaker with this number, alone."""

    def __init__(self, number: int) -> None:
        self.record = Record()
        self.foreign_tones: list[float] = []
        """The last frequencies heard that aren't the speaker's, in Hz."""
        self._frequency = frequency_of(number)

    def take(self, samples: Samples, at: float, rate: int = RATE) -> Verdict:
        """Samples of one channel, 20 ms or more."""
        return self.record.add(self._judge(samples, rate), at)

    def _judge(self, samples: Samples, rate: int) -> Verdict:
        tone = listen(samples, rate)
        if tone is None:
            return Verdict.NOTHING
        if tone.purity < _PURE:
            return Verdict.SPOILT
        if abs(tone.frequency - self._frequency) > _IN_TUNE:
            self.foreign_tones = [*self.foreign_tones[-4:], tone.frequency]
            return Verdict.FOREIGN
        return Verdict.GOOD


class Eye:
    """Looks for the moving picture of the sender with this number. Good is one that wasn't there before."""

    def __init__(self, number: int) -> None:
        self.record = Record()
        self.missed = 0
        """Pictures that were left out between two that came."""
        self._number = number
        self._sequence: int | None = None

    def take(self, luma: Luma, at: float) -> Verdict:
        return self.record.add(self._judge(Shown.read(luma)), at)

    def _judge(self, shown: Shown | None) -> Verdict:
        if shown is None:
            return Verdict.SPOILT
        if shown.number != self._number:
            return Verdict.FOREIGN
        before, self._sequence = self._sequence, shown.sequence
        if before is None:
            return Verdict.GOOD
        if shown.sequence <= before:
            return Verdict.NOTHING  # the same again, or one from before
        self.missed += shown.sequence - before - 1
        return Verdict.GOOD


class Impression:
    """What one listener has of one speaker, sound and picture."""

    def __init__(self, number: int) -> None:
        self.ear = Ear(number)
        self.eye = Eye(number)

    def trouble(self) -> str:
        """What came and wasn't good, or should have come in between; empty: nothing."""
        sound, picture = self.ear.record.trouble, self.eye.record.trouble
        told = [f"{count} sounds {verdict.value}" for verdict, count in sound.items()]
        told += [f"{frequency:.0f} Hz heard" for frequency in self.ear.foreign_tones]
        told += [f"{count} pictures {verdict.value}" for verdict, count in picture.items()]
        told += [f"{self.eye.missed} pictures missed"] if self.eye.missed else []
        return ", ".join(told)

    def ahead(self, sounds: int, pictures: int) -> Callable[[], bool]:
        """Tells whether so many good frames more than now have come."""
        ear, eye = self.ear.record, self.eye.record
        sounds, pictures = sounds + ear.good, pictures + eye.good
        return lambda: ear.good >= sounds and eye.good >= pictures
