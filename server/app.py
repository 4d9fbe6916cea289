"""The composition root: the one place that knows which parts there are and how they hang together."""

from collections.abc import Sequence
from contextlib import AsyncExitStack

from aiohttp import web

from server.api.accounts import AccountsApi
from server.api.calls import CallsApi
from server.api.chat import ChatApi
from server.api.contacts import ContactsApi
from server.api.description import Description
from server.api.dispatch import Dispatcher
from server.api.files import FilesApi
from server.api.front import METRICS
from server.api.operations import OperationsApi
from server.api.routing import AnyRoute
from server.api.site import add_site
from server.bus.interface import Bus
from server.bus.memory import MemoryBus, MemoryHub
from server.bus.redis import RedisBus
from server.calls.durable import DurableCalls
from server.calls.metrics import CallMetrics
from server.calls.ports import CallTimes
from server.calls.registry import Calls
from server.clock import Clock, SystemClock
from server.config.settings import Settings
from server.runtime.metrics import Metrics
from server.services.accounts import Accounts
from server.services.calls import CallService
from server.services.chat import Chat
from server.services.contacts import Contacts
from server.services.files import Files
from server.services.ice import Ice
from server.services.notifier import Notifier
from server.services.passwords import Passwords
from server.services.ratelimit import RateLimiter
from server.services.sessions import SessionHub
from server.services.storage import LocalStorage
from server.services.tokens import Tokens
from server.sockets.call import CallEndpoint
from server.sockets.close_codes import as_table_rows
from server.sockets.connection import ConnectionWatch
from server.sockets.notification import NotificationEndpoint
from server.store import open_store

CONNECTIONS = web.AppKey("connections", ConnectionWatch)
CALLS = web.AppKey("calls", Calls)


async def create_app(
    settings: Settings, *, clock: Clock | None = None, bus: Bus | None = None, metrics: Metrics | None = None
) -> web.Application:
    """Open every part and hang them together; the application closes them again when it is cleaned up.

    `bus` replaces the configured one, so that several servers of one process can share a hub.

    Raises:
        StoreUnavailable, SchemaOutdated, BusUnavailable, OSError
    """
    async with AsyncExitStack() as stack:
        app = await _assemble(stack, settings, clock or SystemClock(), bus, metrics or Metrics())
        parts = stack.pop_all()
    app.on_cleanup.append(lambda _: parts.aclose())
    return app


async def drain(app: web.Application, spread: float) -> None:
    """Tell the open sockets to come back: a hundred a second, within `spread` seconds at most."""
    connections = app[CONNECTIONS]
    await connections.drain(min(spread, len(connections) / 100))


async def _assemble(
    stack: AsyncExitStack, settings: Settings, clock: Clock, bus: Bus | None, metrics: Metrics
) -> web.Application:
    storage = LocalStorage(settings.uploads)
    storage.prepare()
    store = await open_store(settings, clock, metrics)
    stack.push_async_callback(store.close)
    bus = bus or make_bus(settings, clock, metrics)
    await bus.start()
    stack.push_async_callback(bus.close)

    notifier = Notifier(bus, clock, metrics)
    notifier.start()
    stack.push_async_callback(notifier.close)
    passwords = Passwords(settings.password)
    stack.push_async_callback(passwords.close)
    limiter = RateLimiter(bus, clock, settings.limits)
    tokens = Tokens(settings.jwt, clock)
    accounts = Accounts(store, bus, clock, tokens, passwords, limiter, settings.limits, metrics)
    accounts.start()
    stack.push_async_callback(accounts.close)
    contacts = Contacts(store, notifier)
    chat = Chat(store, contacts, notifier, clock, settings.chat)
    files = Files(store, storage, bus, clock, limiter, settings.files, settings.limits)
    files.start()
    stack.push_async_callback(files.close)
    sessions = SessionHub(store, bus, clock, settings.sessions, metrics)
    sessions.start()
    stack.push_async_callback(sessions.close)
    connections = ConnectionWatch(metrics)
    connections.start()
    stack.push_async_callback(connections.close)
    calls = Calls(
        bus=bus,
        store=DurableCalls(store.calls),
        notifier=notifier,
        clock=clock,
        times=CallTimes(
            settings.calls.ring, settings.calls.heartbeat_timeout, settings.calls.lease, settings.calls.answer
        ),
        metrics=CallMetrics(metrics.registry),
        seat_limit=settings.calls.queue,
    )
    await calls.start()
    stack.push_async_callback(calls.stop)
    call_service = CallService(store, calls, notifier, tokens, settings.calls)

    routes: list[AnyRoute] = [
        *AccountsApi(accounts).routes(),
        *ContactsApi(contacts).routes(),
        *ChatApi(chat).routes(),
        *FilesApi(files).routes(),
        *CallsApi(call_service, Ice(settings.ice, clock), clock).routes(),
        *OperationsApi(store, bus, metrics, settings.monitoring).routes(),
    ]
    app = web.Application(client_max_size=settings.http.body_limit)
    app[METRICS] = metrics
    app[CONNECTIONS] = connections
    app[CALLS] = calls
    _add_routes(app, settings, routes, accounts)
    notifications = NotificationEndpoint(accounts, sessions, connections, settings.sessions)
    call_sockets = CallEndpoint(calls.seats, tokens, connections, settings.calls, settings.sessions)
    for prefix in {"", settings.api_prefix}:
        app.router.add_route("GET", f"{prefix}/ws/notification", notifications.handle)
        app.router.add_route("GET", f"{prefix}/ws/call", call_sockets.handle)
    Description(routes, settings.api_prefix, as_table_rows()).add_to(app)
    add_site(app, settings)
    return app


def make_bus(settings: Settings, clock: Clock, metrics: Metrics) -> Bus:
    """A handle on the configured bus, not started yet."""
    if settings.redis is None:
        return MemoryBus(MemoryHub(), clock, metrics=metrics)
    return RedisBus(settings.redis, clock, metrics)


def _add_routes(app: web.Application, settings: Settings, routes: Sequence[AnyRoute], accounts: Accounts) -> None:
    dispatcher = Dispatcher(accounts, settings.http.trusted_proxies)
    for route in routes:
        path, handler = route.full_path(settings.api_prefix), dispatcher.handler(route)
        app.router.add_route(route.method, path, handler)
        if route.head:
            app.router.add_route("HEAD", path, handler)
