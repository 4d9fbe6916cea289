"""A moving test picture that says who sends it and how many were sent before it.

Forty-eight squares, dark or light, row by row the bits of: the sender's number (8), its place in the sequence (24), and
a check of both (16). Squares are found by their share of width and height, so the picture may arrive in another size.
"""

from binascii import crc_hqx
from functools import cache
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
from av import VideoFrame

WIDTH, HEIGHT = 160, 120
_COLUMNS, _ROWS = 8, 6
_POINTS = 4
_DARK, _LIGHT, _GREY = 40, 215, 128
_CLEAR = 30
"""Nearer to grey than that, a square is neither dark nor light."""

Luma = npt.NDArray[np.uint8]


class Shown(NamedTuple):
    """What a picture says."""

    number: int
    sequence: int

    def _bits(self) -> npt.NDArray[np.uint8]:
        content = bytes([self.number]) + (self.sequence % (1 << 24)).to_bytes(3)
        return np.unpackbits(np.frombuffer(content + _check(content).to_bytes(2), dtype=np.uint8))

    @classmethod
    def _from_bits(cls, bits: npt.NDArray[np.bool_]) -> Self | None:
        data = np.packbits(bits).tobytes()
        content, check = data[:4], data[4:]
        if int.from_bytes(check) != _check(content):
            return None
        return cls(content[0], int.from_bytes(content[1:]))

    def draw(self) -> VideoFrame:
        luma = np.where(self._bits().reshape(_ROWS, _COLUMNS) == 1, _LIGHT, _DARK).astype(np.uint8)
        luma = luma.repeat(HEIGHT // _ROWS, axis=0).repeat(WIDTH // _COLUMNS, axis=1)
        chroma = np.full((HEIGHT // 2, WIDTH), _GREY, dtype=np.uint8)
        return VideoFrame.from_ndarray(np.vstack([luma, chroma]), format="yuv420p")

    @classmethod
    def read(cls, luma: Luma) -> Self | None:
        """What a picture of this brightness says; None where it isn't one of ours or isn't clear."""
        points = luma[np.ix_(_points(luma.shape[0], _ROWS), _points(luma.shape[1], _COLUMNS))]
        squares = points.reshape(_ROWS, _POINTS, _COLUMNS, _POINTS).mean(axis=(1, 3)) - _GREY
        if np.abs(squares).min() < _CLEAR:
            return None
        return cls._from_bits(squares.ravel() > 0)


def luma_of(frame: VideoFrame) -> Luma:
    """A planar frame's brightness, a value for each pixel."""
    plane = frame.planes[0]
    return np.frombuffer(bytes(plane), dtype=np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]


def _check(content: bytes) -> int:
    return crc_hqx(content, 0xFFFF)  # of a black picture it isn't black


@cache
def _points(length: int, parts: int) -> npt.NDArray[np.intp]:
    """Where to look: some points in the middle half of each of `parts` equal parts."""
    inner = 0.25 + 0.5 * (np.arange(_POINTS) + 0.5) / _POINTS
    return np.asarray(((np.arange(parts)[:, None] + inner) * length / parts).ravel(), dtype=np.intp)
