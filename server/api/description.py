"""The API description: an OpenAPI document made of the routes and their types, a page to read it, and the page about
the two sockets beside it."""

import json
from collections.abc import Sequence
from importlib.resources import as_file, files
from typing import Any

from aiohttp import web
from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from server import __version__
from server.api.pages import page
from server.api.routing import Access, AnyRoute, Source
from server.api.served import ServedFile
from server.errors import ErrorCode

_SCHEMAS = "#/components/schemas/"
_COMMON = (ErrorCode.BAD_REQUEST, ErrorCode.INTERNAL, ErrorCode.UNAVAILABLE)
_READER = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<title>ichat API</title>
<link rel="stylesheet" href="docs/assets/swagger-ui.css">
<p style="font: 16px system-ui, sans-serif; margin: 1rem 1.5rem"><a href="docs/sockets">The two WebSockets</a></p>
<div id="ui"></div>
<script src="docs/assets/swagger-ui-bundle.js"></script>
<script src="docs/assets/start.js"></script>
"""
_START = 'SwaggerUIBundle({url: "../../openapi.json", dom_id: "#ui", deepLinking: true});\n'
_ASSETS = ("swagger-ui.css", "swagger-ui-bundle.js")


class Description:
    """The pages below `<prefix>/docs` and `<prefix>/openapi.json`."""

    def __init__(self, routes: Sequence[AnyRoute], prefix: str, close_codes: str) -> None:
        self._prefix = prefix
        self._document = json.dumps(document(routes, prefix), ensure_ascii=False).encode()
        page = files("server.api").joinpath("sockets.html").read_text(encoding="utf-8")
        self._sockets = page.replace("<!-- close codes -->", close_codes)

    def add_to(self, app: web.Application) -> None:
        app.router.add_get(f"{self._prefix}/openapi.json", self.openapi)
        app.router.add_get(f"{self._prefix}/docs", self.reader)
        app.router.add_get(f"{self._prefix}/docs/sockets", self.sockets)
        app.router.add_get(f"{self._prefix}/docs/assets/{{name}}", self.asset)

    async def openapi(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._document, content_type="application/json")

    async def reader(self, _request: web.Request) -> web.Response:
        return page(_READER)

    async def sockets(self, _request: web.Request) -> web.Response:
        return page(self._sockets)

    async def asset(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name == "start.js":
            return web.Response(text=_START.replace("../../", f"{self._prefix}/"), content_type="text/javascript")
        if name not in _ASSETS:
            raise web.HTTPNotFound
        with as_file(files("swagger_ui").joinpath("static", name)) as path:
            return ServedFile(path, {"Cache-Control": "public, max-age=86400", "X-Content-Type-Options": "nosniff"})


def document(routes: Sequence[AnyRoute], prefix: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of these routes."""
    inputs = [(route.takes, "validation") for route in routes if route.source is Source.BODY]
    _, schemas = models_json_schema(inputs, ref_template=_SCHEMAS + "{model}")  # type: ignore[arg-type]
    definitions: dict[str, Any] = dict(schemas.get("$defs", {}))
    paths: dict[str, Any] = {}
    for route in routes:
        operations = paths.setdefault(route.path, {})
        operations[route.method.lower()] = _operation(route, definitions)
    definitions["Failure"] = {
        "type": "object",
        "properties": {
            "status": {"const": "error"},
            "code": {"type": "integer", "description": "What went wrong; see the responses of each operation"},
            "message": {"type": "string", "description": "For the person"},
        },
        "required": ["status", "code", "message"],
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ichat",
            "version": __version__,
            "description": "Every answer is an envelope: `{status, code, data}` or `{status, code, message}`. "
            "Branch on `code`.",
            "license": {"name": "MIT"},
        },
        "servers": [{"url": prefix or "/"}],
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
    if route.answer is bytes:
        content: dict[str, Any] = {"*/*": {"schema": {}}}
        responses: dict[str, Any] = {
            "200": {"description": "The file", "content": content},
            "206": {"description": "The range that was asked for", "content": content},
            "304": {"description": "Not modified"},
            "416": {"description": "There is no such range"},
        }
    else:
        data = TypeAdapter(route.answer).json_schema(mode="serialization", ref_template=_SCHEMAS + "{model}")
        definitions.update(data.pop("$defs", {}))
        envelope = {
            "type": "object",
            "properties": {"status": {"const": "ok"}, "code": {"const": 200}, "data": data},
            "required": ["status", "code", "data"],
        }
        responses = {"200": {"description": "Done", "content": {"application/json": {"schema": envelope}}}}
    errors = [*route.errors, *_COMMON]
    if route.access is not Access.OPEN:
        errors += [ErrorCode.UNAUTHORIZED, ErrorCode.LOGIN_EXPIRED]
    if route.source is Source.BODY:
        errors.append(ErrorCode.TOO_LARGE)
    by_status: dict[int, dict[int, str]] = {}
    for error in errors:
        by_status.setdefault(error.status, {})[error.number] = error.value.en
    for status, codes in sorted(by_status.items()):
        text = "; ".join(f"{code}: {words}" for code, words in sorted(codes.items()))
        schema = {
            "allOf": [{"$ref": _SCHEMAS + "Failure"}],
            "properties": {"code": {"enum": sorted(codes)}},
        }
        responses[str(status)] = {"description": text, "content": {"application/json": {"schema": schema}}}
    return responses
