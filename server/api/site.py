"""What a browser sees at `/`: a built single-page frontend where one is configured, else a page about this server."""

import asyncio
import html
from pathlib import Path

from aiohttp import web

from server import __version__
from server.config.settings import Settings

_HASHED = {".js", ".css", ".woff", ".woff2", ".png", ".jpg", ".svg", ".webp"}
_SERVER_PATHS = ("/ws/", "/healthz", "/readyz", "/metrics")

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>ichat</title>
<style>
  body {{ font: 16px/1.6 system-ui, sans-serif; max-width: 40rem; margin: 15vh auto; padding: 0 1.5rem; color: #222; }}
  h1 {{ font-size: 2rem; margin-bottom: 0; }}
  p.what {{ color: #666; margin-top: 0; }}
  li {{ margin: .3rem 0; }}
</style>
<h1>ichat {version}</h1>
<p class="what">The backend of a real-time chat and calling service.</p>
<p>The server runs. There is no frontend at this address: set <code>web-root</code> to the directory of a built one.</p>
<ul>
  <li><a href="{prefix}/docs">API description</a> (<a href="{prefix}/openapi.json">OpenAPI document</a>)</li>
  <li><a href="{prefix}/docs/sockets">The two WebSockets</a></li>
  <li><a href="/readyz">Is everything it needs there?</a></li>
</ul>
"""


def add_site(app: web.Application, settings: Settings) -> None:
    """Comes after every other route: with a frontend it answers whatever is left."""
    if settings.web_root is None:
        page = _PAGE.format(version=__version__, prefix=html.escape(settings.api_prefix))

        async def about(_request: web.Request) -> web.Response:
            return web.Response(text=page, content_type="text/html")

        app.router.add_get("/", about)
        return
    frontend = Frontend(settings.web_root, settings.api_prefix)
    app.router.add_get("/{path:.*}", frontend.serve)


class Frontend:
    """A directory with an `index.html`, which also answers for paths that the frontend routes by itself."""

    def __init__(self, root: Path, prefix: str) -> None:
        self._root = root.resolve()
        self._prefix = prefix

    async def serve(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if (self._prefix and path.startswith(f"{self._prefix}/")) or path.startswith(_SERVER_PATHS):
            raise web.HTTPNotFound
        found = await asyncio.to_thread(self._find, request.match_info["path"])
        if found is None:
            if Path(path).suffix in _HASHED:
                raise web.HTTPNotFound  # a missing script isn't a page
            found = self._root / "index.html"
        cached = "public, max-age=31536000, immutable" if found.parent.name == "assets" else "no-cache"
        return web.FileResponse(found, headers={"Cache-Control": cached, "X-Content-Type-Options": "nosniff"})

    def _find(self, path: str) -> Path | None:
        if "\0" in path or any(part.startswith(".") for part in path.split("/")):
            return None
        found = (self._root / path).resolve()
        return found if found.is_relative_to(self._root) and found.is_file() else None
