"""Files over HTTP: ranges and conditions are aiohttp's (RFC 9110, sections 13 and 14), its failures are told in the
contract's shape."""

from collections.abc import Mapping
from pathlib import Path

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from server.api.failures import failure_of_status

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
