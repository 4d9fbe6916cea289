"""From a request to its answer: who asks, what they ask, the handler, the envelope."""

import ipaddress
from collections.abc import Sequence

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import BaseModel, TypeAdapter, ValidationError

from server.api.front import ROUTE
from server.api.language import preferred_language
from server.api.routing import Access, AnyRoute, Call, Plain, Source
from server.errors import ApiError, ErrorCode
from server.runtime.logs import user_id_var
from server.services.accounts import Accounts, LoginSession, Visitor
from server.wire import envelope

_JSON = "application/json"

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class Dispatcher:
    """Makes aiohttp handlers of routes."""

    def __init__(self, accounts: Accounts, trusted_proxies: Sequence[str]) -> None:
        self._accounts = accounts
        self._proxies = [ipaddress.ip_network(network, strict=False) for network in trusted_proxies]

    def handler(self, route: AnyRoute) -> Handler:
        adapter = TypeAdapter(None if isinstance(route.answer, Plain) else route.answer)
        name = f"{route.method} {route.path}"

        async def handle(request: web.Request) -> web.StreamResponse:
            request[ROUTE] = name
            login = await self._login(request, route.access)
            parsed = await _read(request, route)
            call = Call(parsed, login, preferred_language(request), request, self._visitor)
            answer = await route.handler(call)
            if isinstance(answer, web.StreamResponse):
                return answer
            return web.Response(body=envelope.success(adapter, answer), content_type=_JSON)

        return handle

    async def _login(self, request: web.Request, access: Access) -> LoginSession | None:
        if access is Access.OPEN:
            return None
        token = request.headers.get("Authorization") or request.query.get("token", "")
        try:
            login = await self._accounts.authenticate(token)
        except ApiError as error:
            if access is Access.OPTIONAL and error.code is ErrorCode.UNAUTHORIZED:
                return None
            raise
        user_id_var.set(login.user_id)
        return login

    def _visitor(self, request: web.Request) -> Visitor:
        # a header's bytes that are no UTF-8 come as surrogates, which nothing behind here could write down
        device = request.headers.get("User-Agent", "").encode(errors="replace").decode()
        return Visitor(self._address(request), device)

    def _address(self, request: web.Request) -> str:
        """The client's address: the last one that no trusted proxy of ours has added."""
        address = _ip(request.remote or "")
        hops = [hop.strip() for header in request.headers.getall("X-Forwarded-For", ()) for hop in header.split(",")]
        while hops and address is not None and any(address in network for network in self._proxies):
            nearer = _ip(hops.pop())
            if nearer is None:
                break  # a proxy of ours that doesn't know
            address = nearer
        return str(address) if address is not None else request.remote or ""


def _ip(text: str) -> IpAddress | None:
    """An IPv4 address that comes over an IPv6 socket is the one that it is."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


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
