"""Running the application in one process: listening, and stopping without anybody losing anything."""

import asyncio
import contextlib
import logging
import os
import signal
import ssl
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop
from aiohttp import web

from server.api.front import FrontRunner
from server.config.settings import Settings
from server.runtime.data import locked

_log = logging.getLogger(__name__)

AppFactory = Callable[[Settings], Awaitable[web.Application]]
Drain = Callable[[web.Application, float], Awaitable[None]]


def serve(settings: Settings, create_app: AppFactory, drain: Drain, *, worker: bool = False) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends at once.

    `worker`: it is one of several on the port, and stops also when its standard input ends.

    Raises:
        OSError: the address can't be listened on
        DataDirectoryInUse
        and what `create_app` raises
    """
    with contextlib.ExitStack() as stack:
        if settings.redis is None:
            stack.enter_context(locked(settings.data_dir))
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        runner.run(_serve(settings, create_app, drain, worker))


async def _serve(settings: Settings, create_app: AppFactory, drain: Drain, worker: bool) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, stopping, loop, number)
    if worker:
        loop.add_reader(sys.stdin.fileno(), _stop_at_end, stopping, loop, sys.stdin.fileno())
    app = await create_app(settings)
    runner = FrontRunner(app, settings.http)
    try:
        await runner.setup()
        site = web.TCPSite(
            runner, settings.http.host, settings.http.port, ssl_context=_tls(settings, loop), reuse_port=worker,
            backlog=1024,
        )  # fmt: skip
        await site.start()
        if not worker:
            announce(settings, runner.addresses[0][1])
        _log.info("ready")
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


def _stop_at_end(stopping: asyncio.Event, loop: asyncio.AbstractEventLoop, pipe: int) -> None:
    if not os.read(pipe, 1024):
        loop.remove_reader(pipe)
        stopping.set()


def _tls(settings: Settings, loop: asyncio.AbstractEventLoop) -> ssl.SSLContext | None:
    cert, key = settings.http.tls_cert, settings.http.tls_key
    if cert is None or key is None:
        return None
    context = _context(cert, key)
    loop.add_signal_handler(signal.SIGHUP, _read_again, context, cert, key)
    return context


def _context(cert: Path, key: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    return context


def _read_again(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    """A renewed certificate is for the connections that come from then on."""
    try:
        _context(cert, key)  # a pair that doesn't fit must not spoil the one in use
        context.load_cert_chain(cert, key)
    except OSError as error:  # also ssl.SSLError
        _log.error("the certificate stays as it was: %s", error)
    else:
        _log.info("the certificate was read again")


def announce(settings: Settings, port: int, processes: int = 1) -> None:
    """Say on standard output where to find what."""
    scheme = "https" if settings.http.tls_cert else "http"
    host = settings.http.host
    shown = "127.0.0.1" if host in {"0.0.0.0", "::", ""} else host  # noqa: S104
    shown = f"[{shown}]" if ":" in shown else shown
    mysql, redis = settings.mysql, settings.redis
    database = (
        f"MySQL {mysql.host}:{mysql.port}/{mysql.dbname}" if mysql else f"SQLite in {settings.data_dir.resolve()}"
    )
    bus = f"Redis {redis.host}:{redis.port} ({redis.mode})" if redis else "in this process"
    several = f", {processes} processes" if processes > 1 else ""
    lines = (
        f"ichat listens on {scheme}://{shown}:{port} ({host}:{port}{several})",
        f"  database  {database}",
        f"  bus       {bus}",
        f"  uploads   {settings.uploads.resolve()}",
        f"  API       {scheme}://{shown}:{port}{settings.api_prefix}/docs",
    )
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
