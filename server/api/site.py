"""What a browser sees at `/`: a built single-page frontend where one is configured, else a page about this server."""

import asyncio
import html
import mimetypes
import re
from pathlib import Path

from aiohttp import web

from server import __version__
from server.api.pages import page
from server.api.served import ServedFile
from server.config.settings import Settings

_SERVER_PATHS = ("ws", "healthz", "readyz", "metrics")
"""Below these the frontend has nothing, nor below the interface's prefix."""
_TYPES = {
    ".avif": "image/avif",
    ".mjs": "text/javascript",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}
"""Beside those that Python knows."""
_ASSETS = {
    ".avif", ".css", ".gif", ".ico", ".jpeg", ".jpg", ".js", ".json", ".map", ".mjs", ".mp3", ".ogg", ".otf", ".png",
    ".svg", ".ttf", ".txt", ".wasm", ".webmanifest", ".webp", ".woff", ".woff2", ".xml",
}  # fmt: skip
"""What ends so is a file, never a page that the frontend makes by itself."""
_WELL_KNOWN = ".well-known"
"""The one hidden directory that is meant for everybody (RFC 8615)."""
_BUILT = "assets"
"""The directory whose files have their content's hash in the name, so that they never change."""

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
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
    """With a frontend, whatever no other route has is answered by it, but what looks like the server's own."""
    if settings.web_root is None:
        text = _PAGE.format(version=__version__, prefix=html.escape(settings.api_prefix))

        async def about(_request: web.Request) -> web.Response:
            return page(text)

        app.router.add_get("/", about)
        return
    own = "|".join(re.escape(path) for path in (settings.api_prefix.lstrip("/"), *_SERVER_PATHS) if path)
    app.router.add_get(f"/{{path:(?!(?:{own})(?:/|$)).*}}", Frontend(settings.web_root).serve)


class Frontend:
    """A directory with an `index.html`, which also answers for paths that the frontend routes by itself."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        found = await asyncio.to_thread(self._find, request.match_info["path"])
        if found is None:
            if Path(request.path).suffix.lower() in _ASSETS:
                raise web.HTTPNotFound  # a missing script isn't a page
            found = self._root / "index.html"
        headers = {
            "Content-Type": _type(found),
            "Cache-Control": "public, max-age=31536000, immutable" if self._is_built(found) else "no-cache",
            "X-Content-Type-Options": "nosniff",
        }
        return ServedFile(found, headers)

    def _find(self, path: str) -> Path | None:
        """The file of that path below the root; hidden ones are none."""
        if "\0" in path or any(part.startswith(".") and part != _WELL_KNOWN for part in path.split("/")):
            return None
        try:
            found = (self._root / path).resolve()
            return found if found.is_relative_to(self._root) and found.is_file() else None
        except (OSError, RuntimeError):  # a name that is too long, a circle of links
            return None

    def _is_built(self, file: Path) -> bool:
        return _BUILT in file.relative_to(self._root).parts[:-1]


def _type(file: Path) -> str:
    suffix = file.suffix.lower()
    kind = _TYPES.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream")
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
