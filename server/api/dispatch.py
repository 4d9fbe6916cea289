"""From a request to its answer: who asks, what they ask, the handler, the envelope; and every failure in its shape."""

import ipaddress
import logging
import secrets
import time
from collections.abc import Sequence

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from pydantic import BaseModel, TypeAdapter, ValidationError

from server.api.language import preferred_language
from server.api.routing import Access, AnyRoute, Call, Source
from server.bus.interface import BusUnavailable
from server.errors import ApiError, ErrorCode
from server.runtime.logs import request_id_var, user_id_var
from server.runtime.metrics import Metrics
from server.services.accounts import Accounts, LoginSession, Visitor
from server.store.errors import StoreUnavailable
from server.wire import envelope

_log = logging.getLogger(__name__)
_access = logging.getLogger("server.access")

_JSON = "application/json"
_ROUTE = web.RequestKey("route", str)


class Dispatcher:
    """Makes aiohttp handlers of routes."""

    def __init__(self, accounts: Accounts, trusted_proxies: Sequence[str]) -> None:
        self._accounts = accounts
        self._proxies = [ipaddress.ip_network(network, strict=False) for network in trusted_proxies]

    def handler(self, route: AnyRoute) -> Handler:
        adapter = TypeAdapter(route.answer)
        name = f"{route.method} {route.path}"

        async def handle(request: web.Request) -> web.StreamResponse:
            request[_ROUTE] = name
            login = await self._login(request, route.access)
            parsed = await _read(request, route)
            call = Call(parsed, login, self._visitor(request), preferred_language(request), request)
            answer = await route.handler(call)
            if isinstance(answer, web.StreamResponse):
                return answer
            return web.Response(body=envelope.success(adapter, answer), content_type=_JSON)

        return handle

    async def _login(self, request: web.Request, access: Access) -> LoginSession | None:
        if access is Access.OPEN:
            return None
        token = request.headers.get("Authorization") or request.query.get("token", "")
        if not token and access is Access.OPTIONAL:
            return None
        login = await self._accounts.authenticate(token)
        user_id_var.set(login.user_id)
        return login

    def _visitor(self, request: web.Request) -> Visitor:
        return Visitor(self._address(request), request.headers.get("User-Agent", ""))

    def _address(self, request: web.Request) -> str:
        """The client's address: the last one that no trusted proxy of ours has added."""
        address = request.remote or ""
        hops = [hop.strip() for header in request.headers.getall("X-Forwarded-For", ()) for hop in header.split(",")]
        while hops and self._trusted(address):
            address = hops.pop()
        return address

    def _trusted(self, address: str) -> bool:
        if not self._proxies:
            return False
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._proxies)


async def _read(request: web.Request, route: AnyRoute) -> BaseModel:
    takes: type[BaseModel] = route.takes
    try:
        match route.source:
            case Source.QUERY:
                return takes.model_validate(dict(request.query))
            case Source.FORM:
                return takes.model_construct()
            case Source.BODY:
                return takes.model_validate_json(await request.read())
    except ValidationError as error:
        raise envelope.refusal(error) from error
    except web.HTTPRequestEntityTooLarge as error:
        raise ApiError(ErrorCode.TOO_LARGE, limit=request._client_max_size) from error


def failure_middleware(metrics: Metrics) -> Middleware:
    """The one middleware: request id, envelope of every failure, metrics, the line in the log."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        start = time.perf_counter()
        request_id = secrets.token_hex(8)
        request_id_var.set(request_id)
        user_id_var.set(0)
        code = 200
        try:
            response = await handler(request)
        except ApiError as error:
            code, response = _failure(request, error)
        except (StoreUnavailable, BusUnavailable) as error:
            _log.warning("unavailable: %s", error)
            code, response = _failure(request, ApiError(ErrorCode.UNAVAILABLE))
        except web.HTTPException as error:
            code, response = _http_failure(request, error)
        except ConnectionError:  # the client is gone: nobody reads this
            code, response = 499, web.Response(status=499)
        except Exception:
            _log.exception("request failed")
            code, response = _failure(request, ApiError(ErrorCode.INTERNAL, request_id=request_id))
        route = request.get(_ROUTE, "other")
        seconds = time.perf_counter() - start
        metrics.requests.labels(route, str(code)).inc()
        metrics.request_seconds.labels(route).observe(seconds)
        if _access.isEnabledFor(logging.DEBUG) or code != 200:
            _access.log(
                logging.DEBUG if code == 200 else logging.INFO,
                "%s %s %d",
                request.method,
                request.path,
                code,
                extra={"route": route, "http_status": response.status, "code": code, "ms": round(seconds * 1000, 2)},
            )
        if not response.prepared:
            response.headers["X-Request-Id"] = request_id
        return response

    return middleware


def _failure(request: web.Request, error: ApiError) -> tuple[int, web.Response]:
    body = envelope.failure(error, preferred_language(request))
    response = web.Response(status=error.code.status, body=body, content_type=_JSON)
    if error.code in (ErrorCode.TOO_MANY, ErrorCode.UNAVAILABLE):
        response.headers["Retry-After"] = str(error.details.get("seconds", 3))
    return error.code.number, response


def _http_failure(request: web.Request, error: web.HTTPException) -> tuple[int, web.StreamResponse]:
    """What aiohttp raises by itself, in the contract's shape."""
    if error.status < 400:
        return error.status, error
    match error.status:
        case 404:
            told = ApiError(ErrorCode.NOT_FOUND)
        case 405:
            told = ApiError(ErrorCode.METHOD_NOT_ALLOWED)
        case 413:
            told = ApiError(ErrorCode.TOO_LARGE, limit=request._client_max_size)
        case 401 | 403:
            told = ApiError(ErrorCode.FORBIDDEN)
        case status if status >= 500:
            told = ApiError(ErrorCode.UNAVAILABLE)
        case _:
            told = ApiError(ErrorCode.BAD_REQUEST, detail=error.reason)
    code, response = _failure(request, told)
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return code, response
