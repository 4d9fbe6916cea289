"""The table tells who was heard and seen, and who wasn't."""

import pytest

from tests.participant.impressions import Impression, Verdict
from tests.participant.table import Line, render

SINCE, UNTIL = 100.0, 110.0
SOUNDS, PICTURES = 166, 100
NAMES = {1: "Ada (1)", 2: "Ben (2)"}


def line(sounds: int, pictures: int, *, foreign: int = 0, frozen: int = 0) -> Line:
    """Ten seconds of what Ada has of Ben, evenly spread; what isn't good comes at the end."""
    impression = Impression(1)
    for record, count in ((impression.ear.record, sounds), (impression.eye.record, pictures)):
        for number in range(count):
            record.add(Verdict.GOOD, SINCE + (number + 1) * 10 / (count + 1))
    for _ in range(foreign):
        impression.ear.record.add(Verdict.FOREIGN, UNTIL)
    for _ in range(frozen):
        impression.eye.record.add(Verdict.NOTHING, UNTIL)
    return Line.of(1, 2, impression, SINCE, UNTIL)


def test_what_came_as_it_was_sent_worked() -> None:
    shown = line(SOUNDS, PICTURES)
    assert shown.worked
    assert render([shown], NAMES).splitlines() == [
        "who      of whom  heard  sounds      longest gap  saw  pictures    longest gap",
        "Ada (1)  Ben (2)  yes    166 of 166  0.06 s       yes  100 of 100  0.10 s",
    ]


@pytest.mark.parametrize(
    ("shown", "heard", "seen"),
    [
        (line(0, PICTURES), False, True),
        (line(SOUNDS, 0), True, False),
        (line(SOUNDS // 3, PICTURES), False, True),
        (line(SOUNDS, PICTURES, foreign=SOUNDS), False, True),
        (line(SOUNDS, PICTURES // 2 + 1, frozen=PICTURES // 2), True, False),
        (line(SOUNDS * 2 // 3, PICTURES * 2 // 3, foreign=2, frozen=2), True, True),
    ],
)
def test_who_wasnt_heard_or_seen_is_told(shown: Line, heard: bool, seen: bool) -> None:
    assert (shown.sound.worked, shown.picture.worked) == (heard, seen)
    assert shown.worked is (heard and seen)
    cells = render([shown], NAMES).splitlines()[1].split()
    assert ("NO" in cells) is not shown.worked


def test_what_was_wrong_is_told() -> None:
    assert "166 of 166 (3 somebody else's)" in render([line(SOUNDS, PICTURES, foreign=3)], NAMES)
    assert "100 of 100 (2 silent or frozen)" in render([line(SOUNDS, PICTURES, frozen=2)], NAMES)
