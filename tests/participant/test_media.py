"""Microphone and camera, through the codecs that calls use."""

import asyncio
import time
from collections.abc import Iterator
from fractions import Fraction

import av
import pytest

from tests.participant.media import SOUND_PERIOD, Camera, Microphone, Source, SourceTrack
from tests.participant.picture import Shown, luma_of
from tests.participant.tone import frequency_of, listen, samples_of

BEGAN = 3


class Ticker(Source):
    """A source of short frames that say their index."""

    kind = "audio"
    period = Fraction(1, 1000)
    clock = 1000
    kept = 64

    def __init__(self) -> None:
        super().__init__()
        self.encoded: list[int] = []

    def _encode(self, index: int) -> bytes:
        self.encoded.append(index)
        return str(index).encode()


def sounds(microphone: Microphone, indexes: range) -> Iterator[av.AudioFrame]:
    decoder = av.AudioCodecContext.create("libopus", "r")
    decoder.format = "s16"
    for index in indexes:
        data = microphone.packet(index)
        assert data is not None
        yield from decoder.decode(av.Packet(data))


def pictures(camera: Camera, indexes: range) -> Iterator[av.VideoFrame]:
    decoder = av.VideoCodecContext.create("libvpx", "r")
    for index in indexes:
        data = camera.packet(index)
        assert data is not None
        yield from decoder.decode(av.Packet(data))


@pytest.mark.parametrize("number", [0, 4, 19])
def test_a_microphone_is_heard_from_wherever_one_begins(number: int) -> None:
    frames = list(sounds(Microphone(number), range(BEGAN, BEGAN + 10)))
    assert len(frames) == 10
    for frame in frames[1:]:
        tone = listen(samples_of(frame), frame.sample_rate)
        assert tone is not None
        assert tone.frequency == pytest.approx(frequency_of(number), abs=3)
        assert tone.purity > 0.9


@pytest.mark.parametrize("number", [0, 4, 19])
def test_a_camera_is_seen_from_wherever_one_begins(number: int) -> None:
    shown = [Shown.read(luma_of(frame)) for frame in pictures(Camera(number), range(BEGAN, BEGAN + 20))]
    assert shown == [Shown(number, sequence) for sequence in range(BEGAN, BEGAN + 20)]


def test_a_frame_is_encoded_once_and_kept_for_a_while() -> None:
    source = Ticker()
    assert [source.packet(index) for index in (3, 3, 1)] == [b"3", b"3", b"1"]
    assert source.encoded == [0, 1, 2, 3]
    source.packet(500)
    assert source.packet(3) is None
    assert source.packet(499) == b"499"


async def test_listeners_get_the_same_frames_in_their_time() -> None:
    microphone = Microphone(1)
    began = time.monotonic()
    one = SourceTrack(microphone)
    packets = [await one.recv() for _ in range(4)]
    assert time.monotonic() - began > 3 * float(SOUND_PERIOD)
    assert [packet.pts for packet in packets] == [2_880 * index for index in range(4)]

    late = await SourceTrack(microphone).recv()
    assert late.pts is not None
    assert late.pts >= 2_880 * 3
    assert bytes(late) in [microphone.packet(index) or b"" for index in range(3, microphone.newest() + 1)]


async def test_who_falls_far_behind_goes_on_with_the_newest() -> None:
    source = Ticker()
    slow = SourceTrack(source)
    assert (await slow.recv()).pts == 0
    while source.newest() < 200:
        await asyncio.sleep(0.01)
    source.packet(source.newest())  # for somebody who keeps up
    assert ((await slow.recv()).pts or 0) >= 200
