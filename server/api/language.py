"""The language of a request's answers."""

from aiohttp import web

from server.errors import Language
from server.wire import language


def preferred_language(request: web.BaseRequest) -> Language:
    return language.preferred(request.headers.get("Accept-Language"))
