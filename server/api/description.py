"""The API description: the OpenAPI document, a page to read it, and the page about the two sockets beside it."""

import json
from collections.abc import Sequence
from importlib.resources import as_file, files

from aiohttp import web

from server.api.openapi import document
from server.api.pages import page
from server.api.routing import AnyRoute
from server.api.served import ServedFile

_READER = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<title>ichat API</title>
<link rel="stylesheet" href="docs/assets/swagger-ui.css">
<p style="font: 16px system-ui, sans-serif; max-width: 1420px; margin: 1rem auto 0; padding: 0 20px">
<a href="docs/sockets">The two WebSockets</a></p>
<div id="ui"></div>
<script src="docs/assets/swagger-ui-bundle.js"></script>
<script src="docs/assets/start.js"></script>
"""
_START = 'SwaggerUIBundle({url: "../../openapi.json", dom_id: "#ui", deepLinking: true});\n'
_ASSETS = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}
_CACHED = {"Cache-Control": "public, max-age=86400", "X-Content-Type-Options": "nosniff"}


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
            text = _START.replace("../../", f"{self._prefix}/")
            return web.Response(text=text, content_type="text/javascript", headers=_CACHED)
        if name not in _ASSETS:
            raise web.HTTPNotFound
        with as_file(files("swagger_ui").joinpath("static", name)) as path:
            return ServedFile(path, {"Content-Type": f"{_ASSETS[name]}; charset=utf-8", **_CACHED})
