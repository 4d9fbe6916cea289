"""Small pictures of every kind."""

from io import BytesIO

from PIL import Image


def picture(kind: str, size: tuple[int, int] = (20, 10), **options: object) -> bytes:
    out = BytesIO()
    Image.new("RGB", size, (200, 60, 20)).save(out, kind, **options)
    return out.getvalue()


KINDS = {"PNG": "png", "JPEG": "jpg", "GIF": "gif", "WEBP": "webp", "BMP": "bmp"}
"""Format -> ending."""
PICTURES = {kind: picture(kind) for kind in KINDS}
_MORE = [Image.new("RGB", (20, 10), (9, number, 9)) for number in range(5)]
SEVERAL = {kind: picture(kind, save_all=True, append_images=_MORE) for kind in ("GIF", "WEBP", "PNG", "MPO")}
"""Animated ones, and one with several views."""
