"""From a request to its answer: what no test from outside can provoke or see."""

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import aiohttp
import pytest
from aiohttp import web
from pydantic import Field

from server.api.dispatch import Dispatcher
from server.api.routing import Access, Call, Route, Source
from server.bus.interface import BusUnavailable
from server.errors import ApiError, ErrorCode
from server.runtime.metrics import Metrics
from server.services.accounts import LoginSession
from server.store.errors import StoreUnavailable
from server.wire.bodies import Body
from tests.api.conftest import Serve

TOKEN = "a-token"
BODY_LIMIT = 1000


class Fields(Body):
    number: Annotated[int, Field(strict=True, ge=1, le=9)] = 1
    name: Annotated[str, Field(max_length=3)] = ""
    many: Annotated[tuple[int, ...], Field(max_length=2)] = ()


class _Accounts:
    """Knows one login."""

    async def authenticate(self, token: str) -> LoginSession:
        if token.removeprefix("Bearer ") != TOKEN:
            raise ApiError(ErrorCode.UNAUTHORIZED)
        return LoginSession(7, 70, datetime(2027, 1, 1, tzinfo=UTC))


Handler = Callable[[Call[Fields]], Awaitable[Any]]


def _app(handler: Handler, source: Source, access: Access, proxies: tuple[str, ...]) -> web.Application:
    app = web.Application(client_max_size=BODY_LIMIT)
    method = "GET" if source is Source.QUERY else "POST"
    route = Route(method, "/it", handler, "It", Fields, source, Any, access=access)
    dispatcher = Dispatcher(_Accounts(), proxies)  # type: ignore[arg-type]
    app.router.add_route(method, "/it", dispatcher.handler(route))
    return app


@pytest.fixture
def ask(serve: Serve, http: aiohttp.ClientSession) -> Callable[..., Awaitable[tuple[int, Any]]]:
    """The answer of a handler to a request: HTTP status and envelope."""

    async def ask(
        handler: Handler,
        *,
        source: Source = Source.QUERY,
        access: Access = Access.OPEN,
        proxies: tuple[str, ...] = (),
        **request: Any,
    ) -> tuple[int, Any]:
        base = await serve(_app(handler, source, access, proxies))
        method = "GET" if source is Source.QUERY else "POST"
        async with http.request(method, f"{base}/it", **request) as got:
            return got.status, await got.json()

    return ask


Ask = Callable[..., Awaitable[tuple[int, Any]]]


async def _echo(call: Call[Fields]) -> dict[str, Any]:
    return call.input.model_dump()


async def _visitor(call: Call[Fields]) -> list[str]:
    return [call.visitor.address, call.visitor.device]


async def _who(call: Call[Fields]) -> int | None:
    return call.login.user_id if call.login else None


def _raising(error: Exception) -> Handler:
    async def handler(_call: Call[Fields]) -> None:
        raise error

    return handler


@pytest.mark.parametrize(
    ("forwarded", "proxies", "address"),
    [
        (["1.2.3.4"], (), "127.0.0.1"),
        (["1.2.3.4"], ("10.0.0.0/8",), "127.0.0.1"),
        ([], ("127.0.0.1",), "127.0.0.1"),
        (["1.2.3.4"], ("127.0.0.1",), "1.2.3.4"),
        (["6.6.6.6, 1.2.3.4"], ("127.0.0.0/8",), "1.2.3.4"),
        (["6.6.6.6, 1.2.3.4, 10.1.1.1"], ("127.0.0.0/8", "10.0.0.0/8"), "1.2.3.4"),
        (["6.6.6.6", "1.2.3.4", "10.1.1.1"], ("127.0.0.0/8", "10.0.0.0/8"), "1.2.3.4"),
        (["10.9.9.9, 10.1.1.1"], ("127.0.0.0/8", "10.0.0.0/8"), "10.9.9.9"),
        (["2001:db8::1"], ("127.0.0.1",), "2001:db8::1"),
        (["::ffff:1.2.3.4"], ("127.0.0.1",), "1.2.3.4"),
        (["6.6.6.6, unknown"], ("127.0.0.1",), "127.0.0.1"),
        (["6.6.6.6, " + "x" * 300], ("127.0.0.1",), "127.0.0.1"),
        ([", ,"], ("127.0.0.1",), "127.0.0.1"),
    ],
)
async def test_the_address_of_a_client(ask: Ask, forwarded: list[str], proxies: tuple[str, ...], address: str) -> None:
    headers = [("X-Forwarded-For", value) for value in forwarded]
    status, envelope = await ask(_visitor, proxies=proxies, headers=headers)
    assert (status, envelope["data"][0]) == (200, address)


async def test_what_a_device_calls_itself_is_text(ask: Ask) -> None:
    _, envelope = await ask(_visitor, headers={"User-Agent": "Fön/1"})
    assert envelope["data"][1] == "Fön/1"
    _, envelope = await ask(_visitor, headers={"User-Agent": "\udcff/1"})
    assert envelope["data"][1].endswith("/1")


@pytest.mark.parametrize(
    ("access", "given", "answer"),
    [
        (Access.OPEN, {}, (200, None)),
        (Access.OPEN, {"headers": {"Authorization": "wrong"}}, (200, None)),
        (Access.OPTIONAL, {}, (200, None)),
        (Access.OPTIONAL, {"headers": {"Authorization": TOKEN}}, (200, 7)),
        (Access.OPTIONAL, {"headers": {"Authorization": "wrong"}}, (200, None)),
        (Access.LOGIN, {}, (401, None)),
        (Access.LOGIN, {"headers": {"Authorization": TOKEN}}, (200, 7)),
        (Access.LOGIN, {"headers": {"Authorization": f"Bearer {TOKEN}"}}, (200, 7)),
        (Access.LOGIN, {"params": {"token": TOKEN}}, (200, 7)),
        (Access.LOGIN, {"params": {"token": TOKEN}, "headers": {"Authorization": "wrong"}}, (401, None)),
        (Access.LOGIN, {"headers": {"Authorization": "wrong"}}, (401, None)),
    ],
)
async def test_who_asks(ask: Ask, access: Access, given: dict[str, Any], answer: tuple[int, int | None]) -> None:
    status, envelope = await ask(_who, access=access, **given)
    assert (status, envelope.get("data")) == answer
    assert envelope["code"] == status


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b"", 300, "Invalid request: not valid JSON"),
        (b"{", 300, "Invalid request: not valid JSON"),
        (b"\xff", 300, "Invalid request: not valid JSON"),
        (b"[" * 900, 300, "Invalid request: not valid JSON"),
        (b"[]", 300, "Invalid request: the body must be a JSON object"),
        (b"null", 300, "Invalid request: the body must be a JSON object"),
        (b'{"number": "1"}', 300, "Invalid request: number is of the wrong type"),
        (b'{"number": true}', 300, "Invalid request: number is of the wrong type"),
        (b'{"number": 1.5}', 300, "Invalid request: number is of the wrong type"),
        (b'{"number": 0, "name": 5}', 300, "Invalid request: name is of the wrong type"),
        (b'{"many": [1, "x"]}', 300, "Invalid request: many.1 is of the wrong type"),
        (b'{"number": 0}', 1003, "number: at least 1"),
        (b'{"number": 10}', 1003, "number: at most 9"),
        (b'{"name": "abcd"}', 1003, "name: at most 3 characters"),
        (b'{"many": [1, 2, 3]}', 1003, "many: at most 2 items"),
        (b"x" * (BODY_LIMIT + 1), 413, "Too large: at most 1000 bytes"),
    ],
)
async def test_a_body_that_does_not_fit(ask: Ask, body: bytes, code: int, message: str) -> None:
    status, envelope = await ask(_echo, source=Source.BODY, data=body, headers={"Accept-Language": "en"})
    assert status == (413 if code == 413 else 400)
    assert envelope == {"status": "error", "code": code, "message": message}


async def test_what_is_missing_has_its_default_and_what_is_unknown_is_ignored(ask: Ask) -> None:
    status, envelope = await ask(_echo, source=Source.BODY, data=b'{"number": 3, "later": []}')
    assert (status, envelope["data"]) == (200, {"number": 3, "name": "", "many": []})


async def test_a_body_counts_whatever_its_type_says(ask: Ask) -> None:
    headers = {"Content-Type": "text/plain; charset=utf-16"}
    status, envelope = await ask(_echo, source=Source.BODY, data='{"name": "é"}'.encode(), headers=headers)
    assert (status, envelope["data"]["name"]) == (200, "é")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ApiError(ErrorCode.CONTACT_EXISTS), 409, 2001),
        (ApiError(ErrorCode.TOO_MANY, seconds=60), 429, 429),
        (StoreUnavailable("away"), 503, 500),
        (BusUnavailable("away"), 503, 500),
        (web.HTTPConflict(), 409, 300),
        (web.HTTPForbidden(), 403, 403),
        (TimeoutError(), 500, 500),
    ],
    ids=repr,
)
async def test_what_a_handler_raises(ask: Ask, error: Exception, status: int, code: int) -> None:
    got, envelope = await ask(_raising(error))
    assert (got, envelope["code"]) == (status, code)
    assert envelope["message"]


@pytest.mark.parametrize(
    ("error", "seconds"), [(ApiError(ErrorCode.TOO_MANY, seconds=60), "60"), (StoreUnavailable(), "3")]
)
async def test_when_to_try_again(serve: Serve, http: aiohttp.ClientSession, error: Exception, seconds: str) -> None:
    base = await serve(_app(_raising(error), Source.QUERY, Access.OPEN, ()))
    async with http.get(f"{base}/it") as got:
        assert got.headers["Retry-After"] == seconds


async def test_an_unexpected_exception_tells_its_request_id_and_nothing_else(
    serve: Serve, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture, metrics: Metrics
) -> None:
    base = await serve(_app(_raising(ValueError("the inside")), Source.QUERY, Access.OPEN, ()))
    with caplog.at_level(logging.INFO):
        async with http.get(f"{base}/it", headers={"Accept-Language": "en"}) as got:
            request_id = got.headers["X-Request-Id"]
            assert (got.status, await got.json()) == (
                500,
                {"status": "error", "code": 500, "message": f"Internal server error ({request_id})"},
            )
    (failed,) = [record for record in caplog.records if record.exc_info]
    assert "the inside" in str(failed.exc_info)
    assert metrics.registry.get_sample_value("ichat_requests_total", {"route": "GET /it", "code": "500"}) == 1


async def test_what_is_counted_has_few_names(serve: Serve, http: aiohttp.ClientSession, metrics: Metrics) -> None:
    """Whatever is asked for: each name costs memory for ever."""
    base = await serve(_app(_echo, Source.QUERY, Access.OPEN, ()))
    for path in ("/it", "/it?name=ann", "/it?name=anna", "/other", "/yet/another", "/%00"):
        async with http.get(base + path) as got:
            await got.read()
    async with http.post(f"{base}/it") as got:
        await got.read()
    counted = {
        (sample.labels["route"], sample.labels["code"]): sample.value
        for metric in metrics.registry.collect()
        for sample in metric.samples
        if sample.name == "ichat_requests_total"
    }
    assert counted == {
        ("GET /it", "200"): 2, ("GET /it", "1003"): 1, ("other", "404"): 3, ("other", "405"): 1,
    }  # fmt: skip


async def test_a_failure_that_cannot_be_told_is_one_of_the_server(
    serve: Serve, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """Its text has places that nothing fills."""
    base = await serve(_app(_raising(ApiError(ErrorCode.FIELD_INVALID)), Source.QUERY, Access.OPEN, ()))
    async with http.get(f"{base}/it", headers={"Accept-Language": "en"}) as got:
        request_id = got.headers["X-Request-Id"]
        told = {"status": "error", "code": 500, "message": f"Internal server error ({request_id})"}
        assert (got.status, await got.json()) == (500, told)
    assert [record.message for record in caplog.records if record.exc_info] == ["a failure could not be told"]
