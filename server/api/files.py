"""Uploading and fetching files."""

from collections.abc import AsyncIterator

from aiohttp import BodyPartReader, MultipartReader, web

from server.api.routing import Access, AnyRoute, Call, Plain, Route, Source
from server.api.served import ServedFile
from server.errors import ApiError
from server.errors import ErrorCode as E
from server.services.files import Files
from server.wire import bodies

TAG = "Files"
_CHUNK = 64 * 1024
_BESIDE = 64 * 1024
"""Bytes that a form may have beside its file."""
_YEAR = 31_536_000
_FILE = Plain(
    "*/*",
    {
        200: "The file", 206: "The range that was asked for", 304: "Not modified",
        412: "A precondition does not hold", 416: "There is no such range",
    },
)  # fmt: skip


class FilesApi:
    def __init__(self, files: Files) -> None:
        self._files = files

    async def upload(self, call: Call[bodies.UploadForm]) -> str:
        await self._files.admit(call.login, call.visitor)
        limit = self._files.upload_limit(call.login)
        if (call.request.content_length or 0) > limit + _BESIDE:
            raise ApiError(E.TOO_LARGE, limit=limit)
        if call.request.content_type != "multipart/form-data":
            raise _no_form()
        try:
            return await self._files.upload(call.login, _file(await call.request.multipart()))
        except ValueError as error:  # the multipart body is broken
            raise _no_form() from error

    async def fetch(self, call: Call[bodies.Nothing]) -> web.StreamResponse:
        found = await self._files.find(call.request.match_info["name"])
        headers = {
            "Content-Type": found.type,
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "Cache-Control": f"public, max-age={_YEAR}, immutable",  # a name never gets another content
            "Cross-Origin-Resource-Policy": "cross-origin",
        }
        if not found.is_image:
            headers["Content-Disposition"] = "attachment"
        return ServedFile(found.path, headers)

    def routes(self) -> list[AnyRoute]:
        return [
            Route(
                "POST", "/file/upload", self.upload, "Upload a file; without a login, a small image",
                bodies.UploadForm, Source.FORM, str,
                (E.FIELD_INVALID, E.TOO_LARGE, E.TOO_MANY, E.FILE_NOT_STORED), Access.OPTIONAL, TAG,
            ),
            Route(
                "GET", "/file/{name}", self.fetch, "Fetch a file",
                bodies.Nothing, Source.QUERY, _FILE, (E.NOT_FOUND,), Access.OPEN, TAG, head=True,
            ),
        ]  # fmt: skip


async def _parts(form: MultipartReader) -> AsyncIterator[object]:
    """Raises ValueError where the form is broken."""
    while True:
        try:
            part = await form.next()
        except RuntimeError as error:  # aiohttp's word for a bad `_charset_`
            raise ValueError("no form") from error
        if part is None:
            return
        yield part


async def _file(form: MultipartReader) -> AsyncIterator[bytes]:
    """The content of the part called `file`.

    Raises:
        ValueError: there is none, or the form isn't whole
        ApiError: TOO_LARGE (what stands beside the file)
    """
    found = False
    beside = 0
    async for part in _parts(form):
        if not isinstance(part, BodyPartReader):
            raise _no_form()
        wanted = part.name == "file" and not found
        found = found or wanted
        while not part.at_eof():
            chunk = await part.read_chunk(_CHUNK)
            if wanted and chunk:
                yield chunk
            elif (beside := beside + len(chunk)) > _BESIDE:
                raise ApiError(E.TOO_LARGE, limit=_BESIDE)
    if not found:
        raise _no_form()


def _no_form() -> ApiError:
    return ApiError(
        E.BAD_REQUEST, detail=("应为 multipart 表单，文件在 file 字段中", "a multipart form with a field `file`")
    )
