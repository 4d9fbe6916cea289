"""Microphone and camera made of numbers. Each encodes a frame once, however many listen.

Every picture stands alone (a VP8 key frame, RFC 6386), so a listener may begin with any, and needs none sent again.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from fractions import Fraction
from typing import Any

import av
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av.video.frame import PictureType

from tests.participant.picture import HEIGHT, WIDTH, Shown
from tests.participant.tone import RATE, frequency_of, sine

SOUND_PERIOD = Fraction(60, 1000)
"""Seconds in an Opus packet: the longest that it takes (RFC 6716, section 2.1.4), for the fewest packets."""
PICTURE_PERIOD = Fraction(1, 10)
VIDEO_CLOCK = 90_000

_SOUND_BITRATE, _PICTURE_BITRATE = 24_000, 120_000


class Source(ABC):
    """Encoded frames by their index, which grows with the time since the source was made.

    Attributes:
        kind: "audio" or "video".
        period: seconds of a frame.
        clock: ticks a second of RTP timestamps.
        kept: how many of the last frames are kept for listeners who fall behind, as on a machine that is too busy.
    """

    kind: str
    period: Fraction
    clock: int
    kept = 1_000

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._next = 0
        self._packets: OrderedDict[int, bytes] = OrderedDict()

    def due(self, index: int) -> float:
        """Seconds until the frame is there, negative once it is."""
        return self._started + float((index + 1) * self.period) - time.monotonic()

    def newest(self) -> int:
        """The index of the frame that is the last to be there, -1 for none yet."""
        return int((time.monotonic() - self._started) / self.period) - 1

    def packet(self, index: int) -> bytes | None:
        """A frame that is there; None where it is too old to be kept."""
        while self._next <= index:
            self._packets[self._next] = self._encode(self._next)
            self._next += 1
            if len(self._packets) > self.kept:
                self._packets.popitem(last=False)
        return self._packets.get(index)

    @abstractmethod
    def _encode(self, index: int) -> bytes: ...


class Microphone(Source):
    kind = "audio"
    period = SOUND_PERIOD
    clock = RATE

    def __init__(self, number: int) -> None:
        super().__init__()
        self._frequency = frequency_of(number)
        self._codec = av.AudioCodecContext.create("libopus", "w")
        self._codec.sample_rate = RATE
        self._codec.layout = "mono"
        self._codec.format = "s16"
        self._codec.bit_rate = _SOUND_BITRATE
        self._codec.time_base = Fraction(1, RATE)
        milliseconds = str(int(SOUND_PERIOD * 1000))
        self._codec.options = {"application": "audio", "frame_duration": milliseconds, "compression_level": "3"}

    def _encode(self, index: int) -> bytes:
        count = int(SOUND_PERIOD * RATE)
        samples = sine(self._frequency, index * count, count)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        frame.pts = index * count
        frame.time_base = Fraction(1, RATE)
        (packet,) = self._codec.encode(frame)
        return bytes(packet)


class Camera(Source):
    kind = "video"
    period = PICTURE_PERIOD
    clock = VIDEO_CLOCK

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number
        self._codec = av.VideoCodecContext.create("libvpx", "w")
        self._codec.width, self._codec.height = WIDTH, HEIGHT
        self._codec.pix_fmt = "yuv420p"
        self._codec.bit_rate = _PICTURE_BITRATE
        self._codec.time_base = Fraction(1, VIDEO_CLOCK)
        self._codec.framerate = 1 / PICTURE_PERIOD
        self._codec.gop_size = 1
        self._codec.thread_count = 1
        self._codec.options = {"cpu-used": "-6", "deadline": "realtime", "lag-in-frames": "0"}

    def _encode(self, index: int) -> bytes:
        frame = Shown(self._number, index).draw()
        frame.pict_type = PictureType.I
        frame.pts = int(index * PICTURE_PERIOD * VIDEO_CLOCK)
        frame.time_base = Fraction(1, VIDEO_CLOCK)
        (packet,) = self._codec.encode(frame)
        return bytes(packet)


class SourceTrack(MediaStreamTrack):
    """What one listener is sent of a source: from now on, frame by frame, none left out unless the listener falls
    far behind."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.kind = source.kind
        self._source = source
        self._index: int | None = None

    async def recv(self) -> "av.Packet[Any]":
        if self.readyState != "live":
            raise MediaStreamError
        source = self._source
        self._index = max(source.newest(), 0) if self._index is None else self._index + 1
        if (wait := source.due(self._index)) > 0:
            await asyncio.sleep(wait)
        data = source.packet(self._index)
        if data is None:
            self._index = source.newest()
            data = source.packet(self._index)
            assert data is not None
        packet = av.Packet(data)
        packet.pts = int(self._index * source.period * source.clock)
        packet.time_base = Fraction(1, source.clock)
        return packet


class Media:
    """One person's microphone and camera, and connections that send what they take up."""

    def __init__(self, number: int) -> None:
        self._sources = (Microphone(number), Camera(number))

    def connection(self, configuration: RTCConfiguration) -> RTCPeerConnection:
        connection = RTCPeerConnection(configuration)
        for source in self._sources:
            connection.addTrack(SourceTrack(source))
        return connection
