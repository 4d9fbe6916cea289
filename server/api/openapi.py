"""The OpenAPI 3.1 document of the routes, made of the types that parse their requests and write their answers."""

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from server import __version__
from server.api.routing import Access, AnyRoute, Plain, Source
from server.errors import ErrorCode

_SCHEMAS = "#/components/schemas/"
_COMMON = (ErrorCode.BAD_REQUEST, ErrorCode.INTERNAL, ErrorCode.UNAVAILABLE)
_ABOUT = """\
Every answer in JSON is an envelope: `{"status": "ok", "code": 200, "data": …}`, or for a failure
`{"status": "error", "code": …, "message": "…"}` with a fitting HTTP status. Branch on `code`; `message` is for the
person, in Chinese, or in English where `Accept-Language` prefers it. An unknown path is 404, another method 405, a
request that is no HTTP 300, all in the same shape. `X-Request-Id` names the request in the server's log.

The token of `/register` or `/login` goes into `Authorization` (`Bearer ` before it is welcome) or into the query as
`token`. What is absent may also be null, and in a query empty; what isn't known is ignored.
"""


def document(routes: Sequence[AnyRoute], prefix: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of these routes."""
    inputs = [(route.takes, "validation") for route in routes if route.source is Source.BODY]
    _, schemas = models_json_schema(inputs, ref_template=_SCHEMAS + "{model}")  # type: ignore[arg-type]
    definitions: dict[str, Any] = dict(schemas.get("$defs", {}))
    paths: dict[str, Any] = {}
    for route in routes:
        operations = paths.setdefault(route.full_path(prefix), {})
        operations[route.method.lower()] = _operation(route, definitions)
    definitions["Failure"] = {
        "type": "object",
        "properties": {
            "status": {"const": "error"},
            "code": {"type": "integer", "description": "What went wrong; see the responses of each operation"},
            "message": {"type": "string", "minLength": 1, "description": "For the person"},
            "data": {"description": "Of a few: more for a program"},
        },
        "required": ["status", "code", "message"],
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ichat",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": definitions,
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "Authorization"},
                "query": {"type": "apiKey", "in": "query", "name": "token"},
            },
        },
    }


def _operation(route: AnyRoute, definitions: dict[str, Any]) -> dict[str, Any]:
    name = getattr(route.handler, "__name__", "")
    operation: dict[str, Any] = {
        "operationId": f"{route.tag.lower()}_{name}",
        "summary": route.summary,
        "tags": [route.tag],
        "parameters": _parameters(route),
        "responses": _responses(route, definitions),
    }
    match route.source:
        case Source.BODY:
            schema = {"$ref": _SCHEMAS + route.takes.__name__}
            operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
        case Source.FORM:
            form = {
                "type": "object",
                "properties": {"file": {"type": "string", "contentMediaType": "application/octet-stream"}},
                "required": ["file"],
            }
            operation["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": form}}}
        case Source.QUERY:
            pass
    match route.access:
        case Access.LOGIN:
            operation["security"] = [{"token": []}, {"query": []}]
        case Access.OPTIONAL:
            operation["security"] = [{}, {"token": []}, {"query": []}]
        case Access.OPEN:
            operation["security"] = []
    return operation


def _parameters(route: AnyRoute) -> list[dict[str, Any]]:
    parameters = [
        {"name": part.strip("{}"), "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for part in route.path.split("/")
        if part.startswith("{")
    ]
    if route.source is Source.QUERY:
        properties = route.takes.model_json_schema().get("properties", {})
        parameters += [
            {"name": name, "in": "query", "required": False, "schema": schema} for name, schema in properties.items()
        ]
    return parameters


def _responses(route: AnyRoute, definitions: dict[str, Any]) -> dict[str, Any]:
    errors = [*route.errors, *_COMMON]
    if route.access is not Access.OPEN:
        errors += [ErrorCode.UNAUTHORIZED, ErrorCode.LOGIN_EXPIRED]
    if route.source is Source.BODY:
        errors.append(ErrorCode.TOO_LARGE)
    by_status: dict[int, dict[int, str]] = {}
    for error in errors:
        by_status.setdefault(error.status, {})[error.number] = error.value.en
    if isinstance(route.answer, Plain):
        responses = _plain(route.answer)
    else:
        data = TypeAdapter(route.answer).json_schema(mode="serialization", ref_template=_SCHEMAS + "{model}")
        definitions.update(data.pop("$defs", {}))
        envelope = {
            "type": "object",
            "properties": {"status": {"const": "ok"}, "code": {"const": 200}, "data": data},
            "required": ["status", "code", "data"],
        }
        responses = {200: {"description": "Done", "content": {"application/json": {"schema": envelope}}}}
    for status, codes in by_status.items():
        responses[status] = _failure("; ".join(f"{code}: {words}" for code, words in sorted(codes.items())), codes)
    return {str(status): response for status, response in sorted(responses.items())}


def _plain(answer: Plain) -> dict[int, Any]:
    responses: dict[int, Any] = {}
    for status, meaning in answer.statuses.items():
        if status >= 400:
            responses[status] = _failure(meaning, [ErrorCode.BAD_REQUEST.number])
        else:
            body: dict[str, Any] = {} if status == 304 else {"content": {answer.media_type: {"schema": {}}}}
            responses[status] = {"description": meaning, **body}
    return responses


def _failure(description: str, codes: Iterable[int]) -> dict[str, Any]:
    schema = {"allOf": [{"$ref": _SCHEMAS + "Failure"}], "properties": {"code": {"enum": sorted(codes)}}}
    return {"description": description, "content": {"application/json": {"schema": schema}}}
