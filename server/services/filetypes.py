"""What a file is, by what it holds: whatever a browser could take for a page is plain bytes."""

from pathlib import Path
from typing import NamedTuple

import puremagic
from PIL import Image, UnidentifiedImageError

_DECODERS = ("PNG", "JPEG", "GIF", "WEBP", "BMP")
_IMAGES = {
    "PNG": ("png", "image/png"),
    "JPEG": ("jpg", "image/jpeg"),
    "MPO": ("jpg", "image/jpeg"),  # a JPEG with more pictures behind the first
    "GIF": ("gif", "image/gif"),
    "WEBP": ("webp", "image/webp"),
    "BMP": ("bmp", "image/bmp"),
}
IMAGE_TYPES = frozenset(kind for _, kind in _IMAGES.values())
OTHER = "application/octet-stream"


class FileType(NamedTuple):
    """The ending of its name, without the dot, and its content type."""

    ending: str
    type: str

    @property
    def is_image(self) -> bool:
        return self.type in IMAGE_TYPES


class UnfitImage(Exception):
    """An image that nobody should be shown. `texts` say why, in Chinese and English."""

    def __init__(self, chinese: str, english: str) -> None:
        super().__init__(english)
        self.texts = (chinese, english)


def examine(path: Path, *, pixels: int) -> FileType:
    """What an upload is. An image is decoded once, so a broken one or one that unfolds beyond `pixels` is refused here
    and not in somebody's browser.

    Raises:
        UnfitImage
    """
    try:
        with Image.open(path, formats=_DECODERS) as image:
            if image.width * image.height > pixels:
                raise UnfitImage("图片尺寸过大", "has too many pixels")
            known = FileType(*_IMAGES[image.format or ""])
            image.load()
            return known
    except UnidentifiedImageError:
        return _other_type(path)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnfitImage("图片尺寸过大", "has too many pixels") from error
    except UnfitImage:
        raise
    except Exception as error:  # decoders raise anything at all for a broken file
        raise UnfitImage("不是完整的图片", "is not a whole image") from error


def shown_type(path: Path) -> str:
    """The content type of a file that was there before uploads were examined: nothing but an image is shown."""
    try:
        with Image.open(path, formats=_DECODERS) as image:
            return _IMAGES[image.format or ""][1]
    except Exception:  # as above
        return OTHER


def _other_type(path: Path) -> FileType:
    plain = FileType("bin", OTHER)
    try:
        best = puremagic.magic_file(path)[0]
    except (IndexError, ValueError, puremagic.PureError):
        return plain
    kind, ending = best.mime_type, best.extension.lstrip(".")
    if not ending.isalnum() or len(ending) > 8 or not kind.startswith(("audio/", "video/", "application/")):
        return plain
    if any(word in kind for word in ("html", "xml", "script", "svg")):
        return plain
    return FileType(ending.lower(), kind)
