"""The outermost layer of HTTP: every answer gets its request's id, is counted and timed and has its line in the log,
and every failure has the contract's shape, also what aiohttp finds before there is a request to hand on.
"""

import asyncio
import functools
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import HttpVersion10, web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import _ErrInfo

from server.api.failures import failure_of, failure_of_status
from server.config.settings import Http
from server.runtime.logs import request_id_var
from server.runtime.metrics import Metrics
from server.tasks import OwnedTasks

METRICS = web.AppKey("metrics", Metrics)
ROUTE = web.RequestKey("route", str)
"""What a request is counted as, where that isn't the path of its route."""

_log = logging.getLogger(__name__)
_access = logging.getLogger("server.access")

_START = web.RequestKey("start", float)
_UNKNOWN_VERSION = web.RequestKey("unknown_version", bool)
_CLIENT_GONE = 499
_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class FrontRunner(web.AppRunner):
    """Runs an application behind this layer; the application has its `METRICS`."""

    def __init__(self, app: web.Application, settings: Http) -> None:
        super().__init__(
            app, access_log=_access, access_log_class=_accounting(app[METRICS]), shutdown_timeout=settings.drain,
            keepalive_timeout=settings.idle,
        )  # fmt: skip
        self._silence = settings.silence
        self._tasks = OwnedTasks("http")

    async def _make_server(self) -> web.Server:
        server = _Server(await super()._make_server())
        self._tasks.start(self._watch(server), "silence")
        return server

    async def cleanup(self) -> None:
        await super().cleanup()
        await self._tasks.close()

    async def _watch(self, server: web.Server) -> None:
        """For clients that send a part of a request and then nothing. One look at all costs less than a timer each."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._silence / 4)
            for connection in server.connections:
                if isinstance(connection, _Connection):
                    connection.give_up_body(heard_before=loop.time() - self._silence)


class _Server(web.Server):
    def __init__(self, plain: web.Server) -> None:
        super().__init__(_answering(plain.request_handler), request_factory=self._request, **plain._kwargs)
        self._plain_request = plain.request_factory

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)

    def _request(self, message: Any, *rest: Any) -> web.BaseRequest:
        """A request of a version that we don't speak is answered in one that we do."""
        known = message.version.major == 1
        if not known:
            message = message._replace(version=HttpVersion10, should_close=True)
        request = self._plain_request(message, *rest)
        request[_START] = time.perf_counter()
        if not known:
            request[_UNKNOWN_VERSION] = True
        return request


def _answering(handler: _Handler) -> _Handler:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        request_id = secrets.token_hex(8)
        request_id_var.set(request_id)
        try:
            if _UNKNOWN_VERSION in request:
                raise web.HTTPVersionNotSupported
            response = await handler(request)
        except ConnectionError:  # the client is gone: nobody reads this
            response = web.Response(status=_CLIENT_GONE)
        except Exception as error:
            response = failure_of(error, request)
        if not response.prepared:
            response.headers["X-Request-Id"] = request_id
        return response

    return answer


class _Connection(web.RequestHandler):
    """One connection of a client."""

    __slots__ = ("_heard",)

    _heard: float
    """When something came last, in the event loop's time."""

    def give_up_body(self, *, heard_before: float) -> None:
        """End the wait for the rest of a body, unless something came since, or we are the ones who don't read on."""
        request = self._current_request
        if request is None or request.content.is_eof() or self._reading_paused or self._heard >= heard_before:
            return
        if request.content.exception() is None:
            request.content.set_exception(web.RequestPayloadError("nothing came for too long"))

    def data_received(self, data: bytes) -> None:
        """Sees to the body of a request that is being served, where aiohttp would let the handler wait in vain: for the
        rest of a body that breaks off in nonsense, and for the rest of any while the server stops."""
        self._heard = self._loop.time()
        request = self._current_request
        if request is None or request.content.is_eof():
            super().data_received(data)
            return
        closing = self._close, self._force_close
        self._close = self._force_close = False
        super().data_received(data)
        self._close, self._force_close = closing
        if self._messages and isinstance(self._messages[-1][0], _ErrInfo) and not request.content.is_eof():
            request.content.set_exception(web.RequestPayloadError("broken off"))

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The answer to what the parser refuses (`status` is 400), and where telling a failure has failed."""
        request_id = request_id_var.get() or secrets.token_hex(8)
        request_id_var.set(request_id)
        if status >= 500:
            _log.error("a failure could not be told", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("a part of another answer was sent")
        response = failure_of_status(431 if isinstance(exc, LineTooLong) else status, request)
        response.headers["X-Request-Id"] = request_id
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kwargs: Any) -> None:
        """What aiohttp has to tell, without the broken bodies that were answered already."""
        if not isinstance(kwargs.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **kwargs)


def _accounting(metrics: Metrics) -> type[AbstractAccessLogger]:
    # the values of the labels are few, and finding what counts them costs more than counting
    requests, times = functools.cache(metrics.requests.labels), functools.cache(metrics.request_seconds.labels)

    class Accounting(AbstractAccessLogger):
        """Called for every answer, once it is sent."""

        def log(self, request: web.BaseRequest, response: web.StreamResponse, _time: float) -> None:
            seconds = time.perf_counter() - request[_START]  # the loop's clock has whole milliseconds
            code = getattr(response, "code", 0) or response.status
            route = _route(request)
            requests(route, code).inc()
            if response.status != 101:  # the life of a socket is no time to answer
                times(route).observe(seconds)
            level = logging.INFO if code >= 300 and code != 304 else logging.DEBUG
            if _access.isEnabledFor(level):
                _access.log(
                    level,
                    "%s %s %d",
                    request.method,
                    request.path,
                    code,
                    extra={
                        "route": route,
                        "http_status": response.status,
                        "code": code,
                        "ms": round(seconds * 1000, 2),
                    },
                )

    return Accounting


def _route(request: web.BaseRequest) -> str:
    """As few names as there are routes, whatever is asked for."""
    name: str | None = request.get(ROUTE)
    if name is not None:
        return name
    match = getattr(request, "_match_info", None)
    resource = match.route.resource if match is not None else None
    return f"{request.method} {resource.canonical}" if resource is not None else "other"
