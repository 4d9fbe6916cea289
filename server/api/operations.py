"""`/healthz`, `/readyz` and `/metrics`: for those who run the server."""

import asyncio
import hmac
import os

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from server.bus.interface import Bus, BusUnavailable
from server.config.settings import Monitoring
from server.errors import ApiError, ErrorCode
from server.runtime.metrics import Metrics
from server.store import Store
from server.store.errors import StoreUnavailable


class OperationsApi:
    def __init__(self, store: Store, bus: Bus, metrics: Metrics, settings: Monitoring) -> None:
        self._store = store
        self._bus = bus
        self._metrics = metrics
        self._settings = settings

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/healthz", self.healthz)
        app.router.add_get("/readyz", self.readyz)
        if self._settings.metrics:
            app.router.add_get("/metrics", self.metrics)

    async def healthz(self, _request: web.Request) -> web.Response:
        """The process is alive."""
        return web.json_response({"status": "ok"})

    async def readyz(self, _request: web.Request) -> web.Response:
        """Database and bus answer (200), or which of them doesn't (503)."""
        parts = dict(zip(("database", "bus"), await asyncio.gather(self._database(), self._transport()), strict=True))
        ready = all(state == "ok" for state in parts.values())
        return web.json_response({"status": "ok" if ready else "error", **parts}, status=200 if ready else 503)

    async def _database(self) -> str:
        try:
            await self._store.ping()
        except StoreUnavailable:
            return "unavailable"
        return "ok"

    async def _transport(self) -> str:
        try:
            await self._bus.ping()
        except BusUnavailable:
            return "unavailable"
        return "ok"

    async def metrics(self, request: web.Request) -> web.Response:
        """Prometheus' text format; of all worker processes together where there are several."""
        token = self._settings.token.get_secret_value()
        given = request.headers.get("Authorization", "").encode(errors="replace")
        if token and not hmac.compare_digest(given, f"Bearer {token}".encode()):
            raise ApiError(ErrorCode.UNAUTHORIZED)
        registry = self._metrics.registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        text = await asyncio.to_thread(generate_latest, registry)
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
