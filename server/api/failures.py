"""Every failure as the contract's envelope, whoever found it: the rules, the router, the files or the parser."""

import logging

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from server.api.language import preferred_language
from server.bus.interface import BusUnavailable
from server.errors import ApiError, ErrorCode, Language
from server.runtime.logs import request_id_var
from server.store.errors import StoreUnavailable
from server.wire import envelope

_log = logging.getLogger(__name__)

_JSON = "application/json"
_CODES = {
    401: ErrorCode.FORBIDDEN,  # no rule of ours says it: those raise ApiError
    403: ErrorCode.FORBIDDEN,
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
}
_DETAILS = {
    412: ("前提条件不满足", "a precondition does not hold"),
    416: ("请求的范围不存在", "there is no such range"),
    417: ("不支持 Expect 的该取值", "this Expect is not supported"),
    426: ("这里需要 WebSocket 连接", "a WebSocket is expected here"),
    431: ("请求行或请求头过长", "the request line or a header is too long"),
    505: ("不支持该 HTTP 版本", "this version of HTTP is not supported"),
}
_NO_HTTP = ("不是有效的 HTTP 请求", "not valid HTTP")
_HEADERS = ("Allow", "Upgrade", "Sec-WebSocket-Version")
"""Of aiohttp's own failures: what the client needs beside the envelope."""
_RETRY_AFTER = 3


class Failure(web.Response):
    """An answer that is a failure: its `envelope`, and the `code` in it."""

    def __init__(self, error: ApiError, language: Language, status: int = 0, data: object = None) -> None:
        """`status` in the place of the code's own HTTP status, where that says more; `data` for programs."""
        self.envelope = envelope.failure(error, language, data)
        self.code = error.code.number
        super().__init__(status=status or error.code.status, body=self.envelope, content_type=_JSON)
        if error.code in (ErrorCode.TOO_MANY, ErrorCode.UNAVAILABLE):
            self.headers["Retry-After"] = str(error.details.get("seconds", _RETRY_AFTER))


def failure_of(error: Exception, request: web.BaseRequest) -> Failure:
    """What the client is told. Of an unexpected exception it is the request's id, and the log has the rest."""
    language = preferred_language(request)
    match error:
        case ApiError():
            return Failure(error, language)
        case StoreUnavailable() | BusUnavailable():
            _log.warning("unavailable: %s", error)
            return Failure(ApiError(ErrorCode.UNAVAILABLE), language)
        case web.HTTPException():
            return _of_aiohttp(error, request)
        case web.RequestPayloadError() | HttpProcessingError():  # a body that is no chunks, no gzip, …
            failure = Failure(ApiError(ErrorCode.BAD_REQUEST, detail=_NO_HTTP), language)
            failure.force_close()
            return failure
        case _:
            _log.error("request failed", exc_info=error)
            return Failure(ApiError(ErrorCode.INTERNAL, request_id=request_id_var.get()), language)


def failure_of_status(status: int, request: web.BaseRequest) -> Failure:
    """The same for what aiohttp tells by an HTTP status alone."""
    if status >= 500 and status not in _DETAILS:
        error = ApiError(ErrorCode.INTERNAL, request_id=request_id_var.get())
    elif status in _CODES:
        error = ApiError(_CODES[status])
    else:
        error = ApiError(ErrorCode.BAD_REQUEST, detail=_DETAILS.get(status, _NO_HTTP))
    return Failure(error, preferred_language(request), status)


def _of_aiohttp(error: web.HTTPException, request: web.BaseRequest) -> Failure:
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        limit = request._client_max_size
        return Failure(ApiError(ErrorCode.TOO_LARGE, limit=limit), preferred_language(request))
    failure = failure_of_status(error.status, request)
    for name in _HEADERS:
        if name in error.headers:
            failure.headers[name] = error.headers[name]
    return failure
