"""Files over HTTP: ranges and conditions are aiohttp's (RFC 9110, sections 13 and 14), its failures are told in the
contract's shape."""

import re
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from server.api.failures import failure_of_status

_ONE_RANGE = re.compile(r"bytes=(?=\d|-\d)(\d{0,18})-(\d{0,18})", re.IGNORECASE)
_OF_THE_FILE = ("Cache-Control", "Content-Disposition", "ETag", "Last-Modified")
"""Headers that a failure must not have: it is no version of the file."""


class _Told(web.StreamResponse):
    """Stands between `FileResponse`, which settles the status, and the sending of the headers."""

    code = 0
    """That of the envelope, where it is a failure."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if self.status < 400 or self.prepared:
            return await super().prepare(request)
        failure = failure_of_status(self.status, request)
        for name in _OF_THE_FILE:
            self.headers.pop(name, None)
        self.code = failure.code
        self.content_type = failure.content_type
        self.content_length = len(failure.envelope)
        writer = await super().prepare(request)
        if request.method != "HEAD":
            await self.write(failure.envelope)
        return writer


class ServedFile(web.FileResponse, _Told):
    """A file, to whoever asks for it, for a part of it, or whether it has changed."""

    def __init__(self, path: Path, headers: Mapping[str, str]) -> None:
        super().__init__(path, headers=headers)

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if "Range" in request.headers and not _is_one_range(request.headers["Range"]):
            headers = request.headers.copy()
            del headers["Range"]
            request = request.clone(headers=headers)
        return await super().prepare(request)


def _is_one_range(header: str) -> bool:
    """Others are ignored: other units must be, several ranges and such as make no sense may be (RFC 9110, section
    14.2)."""
    found = _ONE_RANGE.fullmatch(header)
    if found is None:
        return False
    first, last = found.groups()
    return int(first) <= int(last) if first and last else bool(first or int(last))
