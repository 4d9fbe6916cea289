"""What a file is taken for, whatever is in it."""

import struct
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.services.filetypes import OTHER, FileType, UnfitImage, examine, shown_type
from tests.services.pictures import KINDS, PICTURES, SEVERAL, picture

PIXELS = 10_000
HTML = b"<!doctype html><html><script>alert(1)</script></html>"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file"


def _examine(file: Path, content: bytes) -> FileType:
    file.write_bytes(content)
    return examine(file, pixels=PIXELS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_known_by_its_content(file: Path, kind: str) -> None:
    found = _examine(file, PICTURES[kind])
    assert found == FileType(KINDS[kind], f"image/{kind.lower()}")
    assert found.is_image
    assert shown_type(file) == found.type


@pytest.mark.parametrize("content", [*SEVERAL.values(), picture("JPEG", progressive=True)], ids=lambda c: repr(c[:9]))
def test_a_picture_of_several_is_one(file: Path, content: bytes) -> None:
    assert _examine(file, content).is_image


def test_a_picture_with_a_page_behind_it_stays_a_picture(file: Path) -> None:
    assert _examine(file, PICTURES["PNG"] + HTML).type == "image/png"


@pytest.mark.parametrize(
    "content",
    [
        HTML,
        b"\xef\xbb\xbf" + HTML,
        b"\xff\xfe" + HTML.decode().encode("utf-16-le"),
        b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<html xmlns='http://www.w3.org/1999/xhtml'><script>alert(1)</script></html>",
        b"alert(1)",
        b"%!PS-Adobe-3.0",
        b"\0" * 100,
        b"x",
        b"",
    ],
    ids=repr,
)
def test_what_could_be_a_page_is_plain_bytes(file: Path, content: bytes) -> None:
    found = _examine(file, content)
    assert not found.is_image
    assert not any(word in found.type for word in ("html", "xml", "svg", "script", "text/"))
    assert shown_type(file) == OTHER


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"%PDF-1.4\n1 0 obj\n", FileType("pdf", "application/pdf")),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\0" * 50, FileType("mp4", "video/mp4")),
        (b"OggS\0\x02" + b"\0" * 50, FileType("ogg", "application/ogg")),
    ],
)
def test_other_types_are_told(file: Path, content: bytes, found: FileType) -> None:
    assert _examine(file, content) == found
    assert not found.is_image
    assert shown_type(file) == OTHER


def _png(width: int, height: int, unpacked: int = 1000) -> bytes:
    """A PNG of that size on paper, with so many bytes of data."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack("!I", len(content)) + kind + content + struct.pack("!I", zlib.crc32(kind + content))

    header = struct.pack("!IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(b"\0" * unpacked)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "content",
    [picture("PNG", (101, 100)), _png(30_000, 30_000), _png(2**31 - 1, 2**31 - 1), picture("GIF", (1, 10_001))],
    ids=["a little too large", "a bomb", "a larger bomb", "high"],
)
def test_too_many_pixels_are_refused_before_they_are_unpacked(file: Path, content: bytes) -> None:
    with pytest.raises(UnfitImage, match="too many pixels"):
        _examine(file, content)


def test_as_many_pixels_as_are_allowed(file: Path) -> None:
    assert _examine(file, picture("PNG", (100, 100))).is_image


def test_of_data_that_unfolds_beyond_its_picture_the_picture_is_taken(file: Path) -> None:
    """Twenty megabytes of zeros in twenty kilobytes, for a hundred pixels."""
    assert _examine(file, _png(10, 10, 20_000_000)).is_image


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [0.3, 0.6])
def test_half_a_picture_is_none(file: Path, kind: str, part: float) -> None:
    whole = picture(kind, (60, 60))
    try:
        found = _examine(file, whole[: int(len(whole) * part)])
    except UnfitImage as unfit:
        assert unfit.texts == ("不是完整的图片", "is not a whole image")
    else:
        assert not found.is_image


def test_whatever_is_changed_in_a_picture_it_is_taken_or_refused(file: Path) -> None:
    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(
        content=st.sampled_from([*PICTURES.values(), *SEVERAL.values()]),
        changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
    )
    def change(content: bytes, changes: list[tuple[float, int]]) -> None:
        broken = bytearray(content)
        for place, value in changes:
            broken[int(place * len(broken))] = value
        with suppress(UnfitImage):
            assert _examine(file, bytes(broken)).type
        assert shown_type(file)

    change()
