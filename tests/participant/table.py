"""Who heard and saw whom."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from tests.participant.impressions import Impression, Stretch
from tests.participant.media import PICTURE_PERIOD, SOUND_PERIOD
from tests.participant.mesh import MeshPage

_ENOUGH = 0.5
_TOO_BAD = 0.1
_HEADINGS = ("who", "of whom", "heard", "sounds", "longest gap", "saw", "pictures", "longest gap")


@dataclass(frozen=True, slots=True)
class Sense:
    """What came of one sender's sound or picture."""

    stretch: Stretch
    period: Fraction

    @property
    def expected(self) -> int:
        return int(self.stretch.seconds / self.period)

    @property
    def worked(self) -> bool:
        """At least half of it came, and hardly anything else."""
        stretch = self.stretch
        return 0 < stretch.good >= _ENOUGH * self.expected and stretch.bad <= _TOO_BAD * (stretch.good + stretch.bad)

    def cells(self) -> tuple[str, str, str]:
        bad = ", ".join(f"{count} {verdict.value}" for verdict, count in self.stretch.trouble.items())
        came = f"{self.stretch.good} of {self.expected}" + (f" ({bad})" if bad else "")
        return "yes" if self.worked else "NO", came, f"{self.stretch.gap:.2f} s"


@dataclass(frozen=True, slots=True)
class Line:
    """One listener and one speaker."""

    listener: int
    speaker: int
    sound: Sense
    picture: Sense

    @classmethod
    def of(cls, listener: int, speaker: int, impression: Impression, since: float, until: float) -> "Line":
        sound = Sense(impression.ear.record.between(since, until), SOUND_PERIOD)
        return cls(listener, speaker, sound, Sense(impression.eye.record.between(since, until), PICTURE_PERIOD))

    @property
    def worked(self) -> bool:
        return self.sound.worked and self.picture.worked


def lines_of(pages: Sequence[MeshPage], since: float, until: float) -> list[Line]:
    """A line for each two, both ways, of what came between two times of `time.monotonic`."""
    return [
        Line.of(page.user_id, speaker, impression, since, until)
        for page in pages
        for speaker, impression in page.impressions.items()
    ]


def render(lines: Sequence[Line], names: Mapping[int, str]) -> str:
    rows = [_HEADINGS]
    rows += [(names[line.listener], names[line.speaker], *line.sound.cells(), *line.picture.cells()) for line in lines]
    return "\n".join(_aligned(rows))


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
