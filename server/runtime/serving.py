"""Running the application in one process: listening, and stopping without anybody losing anything."""

import asyncio
import contextlib
import logging
import signal
import ssl
import sys
from collections.abc import Awaitable, Callable

import uvloop
from aiohttp import web

from server.config.settings import Settings
from server.runtime.data import locked

_log = logging.getLogger(__name__)

AppFactory = Callable[[Settings], Awaitable[web.Application]]
Drain = Callable[[web.Application, float], Awaitable[None]]


def serve(settings: Settings, create_app: AppFactory, drain: Drain, *, shared_port: bool = False) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends at once.

    Raises:
        OSError: the address can't be listened on
        DataDirectoryInUse
        and what `create_app` raises
    """
    with contextlib.ExitStack() as stack:
        if settings.mysql is None or settings.redis is None:
            stack.enter_context(locked(settings.data_dir))
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        runner.run(_serve(settings, create_app, drain, shared_port))


async def _serve(settings: Settings, create_app: AppFactory, drain: Drain, shared_port: bool) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, stopping, loop, number)
    app = await create_app(settings)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=settings.http.drain)
    try:
        await runner.setup()
        site = web.TCPSite(
            runner, settings.http.host, settings.http.port, ssl_context=_tls(settings, loop), reuse_port=shared_port,
            backlog=1024,
        )  # fmt: skip
        await site.start()
        _announce(settings, runner.addresses[0][1])
        await stopping.wait()
        _log.info("stopping: no new connections, open sockets are told to come back")
        await site.stop()
        await drain(app, settings.http.drain)
    finally:
        await runner.cleanup()


def _stop(stopping: asyncio.Event, loop: asyncio.AbstractEventLoop, number: signal.Signals) -> None:
    stopping.set()
    loop.remove_signal_handler(number)  # the next one has its default effect
    if number is signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _tls(settings: Settings, loop: asyncio.AbstractEventLoop) -> ssl.SSLContext | None:
    cert, key = settings.http.tls_cert, settings.http.tls_key
    if cert is None or key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    # A renewed certificate is for the connections that come from then on.
    loop.add_signal_handler(signal.SIGHUP, context.load_cert_chain, cert, key)
    return context


def _announce(settings: Settings, port: int) -> None:
    scheme = "https" if settings.http.tls_cert else "http"
    host = settings.http.host
    shown = "127.0.0.1" if host in {"0.0.0.0", "::", ""} else host  # noqa: S104
    shown = f"[{shown}]" if ":" in shown else shown
    mysql, redis = settings.mysql, settings.redis
    database = (
        f"MySQL {mysql.host}:{mysql.port}/{mysql.dbname}" if mysql else f"SQLite in {settings.data_dir.resolve()}"
    )
    bus = f"Redis {redis.host}:{redis.port} ({redis.mode})" if redis else "in this process"
    lines = (
        f"ichat listens on {scheme}://{shown}:{port} ({host}:{port})",
        f"  database  {database}",
        f"  bus       {bus}",
        f"  uploads   {settings.uploads.resolve()}",
        f"  API       {scheme}://{shown}:{port}{settings.api_prefix}/docs",
    )
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
