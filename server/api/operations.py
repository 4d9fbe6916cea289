"""`/healthz`, `/readyz` and `/metrics`: for those who run the server."""

import asyncio
import hmac
import os

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from server.api.failures import Failure
from server.api.routing import Access, AnyRoute, Call, Plain, Route, Source
from server.bus.interface import Bus, BusUnavailable
from server.config.settings import Monitoring
from server.errors import ApiError
from server.errors import ErrorCode as E
from server.runtime.metrics import Metrics
from server.store import Store
from server.store.errors import StoreUnavailable
from server.wire import bodies

TAG = "Operation"
_METRICS = Plain("text/plain", {200: "Prometheus' text format, of all worker processes together"})
_OK, _AWAY = "ok", "unavailable"


class OperationsApi:
    def __init__(self, store: Store, bus: Bus, metrics: Metrics, settings: Monitoring) -> None:
        self._store = store
        self._bus = bus
        self._metrics = metrics
        self._settings = settings

    async def healthz(self, _call: Call[bodies.Nothing]) -> None:
        """Whoever gets an answer knows."""

    async def readyz(self, call: Call[bodies.Nothing]) -> dict[str, str] | Failure:
        parts = dict(zip(("database", "bus"), await asyncio.gather(self._database(), self._transport()), strict=True))
        if _AWAY in parts.values():
            return Failure(ApiError(E.UNAVAILABLE), call.language, data=parts)
        return parts

    async def _database(self) -> str:
        try:
            await self._store.ping()
        except StoreUnavailable:
            return _AWAY
        return _OK

    async def _transport(self) -> str:
        try:
            await self._bus.ping()
        except BusUnavailable:
            return _AWAY
        return _OK

    async def metrics(self, call: Call[bodies.Nothing]) -> web.Response:
        token = self._settings.token.get_secret_value()
        given = call.request.headers.get("Authorization", "").encode(errors="replace")
        if token and not hmac.compare_digest(given, f"Bearer {token}".encode()):
            raise ApiError(E.UNAUTHORIZED)
        registry = self._metrics.registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        text = await asyncio.to_thread(generate_latest, registry)
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    def routes(self) -> list[AnyRoute]:
        routes: list[AnyRoute] = [
            Route(
                "GET", "/healthz", self.healthz, "The process is alive",
                bodies.Nothing, Source.QUERY, None, (), Access.OPEN, TAG, at_root=True, head=True,
            ),
            Route(
                "GET", "/readyz", self.readyz, "Database and bus answer; if not, the data tells which doesn't",
                bodies.Nothing, Source.QUERY, dict[str, str], (), Access.OPEN, TAG, at_root=True, head=True,
            ),
        ]  # fmt: skip
        if self._settings.metrics:
            routes += [
                Route(
                    "GET", "/metrics", self.metrics, "What is counted and timed; may ask for a token",
                    bodies.Nothing, Source.QUERY, _METRICS, (E.UNAUTHORIZED,), Access.OPEN, TAG,
                    at_root=True, head=True,
                ),
            ]  # fmt: skip
        return routes
