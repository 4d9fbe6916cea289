"""`/ws/notification`: a user's notifications, on a session that survives its connection."""

import asyncio
import logging

from aiohttp import web

from server.bus.interface import BusUnavailable, MailboxClosed, MailboxTaken
from server.config.settings import Sessions as SessionSettings
from server.errors import ApiError, ErrorCode
from server.runtime.logs import session_id_var, user_id_var
from server.services.accounts import Accounts, LoginSession
from server.services.session import Session
from server.services.sessions import SessionHub
from server.sockets.close_codes import Close
from server.sockets.connection import Closed, Connection, ConnectionWatch
from server.store.errors import StoreUnavailable
from server.wire.notification import HEARTBEAT

KIND = "notification"

_log = logging.getLogger(__name__)


class NotificationEndpoint:
    """The handler of the notification socket and the logins whose sockets are open here."""

    def __init__(
        self, accounts: Accounts, sessions: SessionHub, watch: ConnectionWatch, settings: SessionSettings
    ) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._watch = watch
        self._settings = settings
        self._by_login: dict[int, set[Connection]] = {}
        accounts.on_login_ended(self._login_ended)
        accounts.watch(lambda: list(self._by_login))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The life of one connection."""
        connection = Connection(
            request,
            frame_limit=self._settings.frame_limit,
            frames_per_second=self._settings.frames_per_second,
            silence=self._settings.silence,
            slow_after=self._settings.slow_reader_timeout,
        )
        return await self._watch.serve(connection, KIND, self._serve(connection))

    async def _serve(self, connection: Connection) -> None:
        """Raises Closed with the reason for the end."""
        login = await self._authenticate(connection)
        user_id_var.set(login.user_id)
        wanted = await connection.first_frame(self._settings.first_frame_timeout)
        try:
            session = await self._sessions.open(login.user_id, wanted)
        except (BusUnavailable, StoreUnavailable) as error:
            raise Closed(Close.TRY_AGAIN) from error
        session_id_var.set(session.session_id)
        connection.pong = session.confirmed
        self._sessions.enter(session, connection)
        self._by_login.setdefault(login.login_id, set()).add(connection)
        writer = asyncio.create_task(self._write(connection, session), name=f"session:{session.session_id}")
        try:
            await self._read(connection, session, login)
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            self._sessions.exit(session)
            self._forget(login.login_id, connection)
            await session.leave()

    async def _authenticate(self, connection: Connection) -> LoginSession:
        token = await connection.first_frame(self._settings.first_frame_timeout)
        try:
            return await self._accounts.authenticate(token)
        except ApiError as error:
            match error.code:
                case ErrorCode.LOGIN_EXPIRED:
                    raise Closed(Close.LOGIN_ENDED) from error
                case ErrorCode.UNAVAILABLE:
                    raise Closed(Close.TRY_AGAIN) from error
                case _:
                    raise Closed(Close.UNAUTHORIZED) from error

    async def _read(self, connection: Connection, session: Session, login: LoginSession) -> None:
        """What the client says after the handshake is its heartbeat; anything else means nothing (yet)."""
        while True:
            text = await connection.receive()
            if text == HEARTBEAT:
                self._sessions.check_soon(session)
                if self._accounts.is_over(login):
                    raise Closed(Close.LOGIN_ENDED)

    async def _write(self, connection: Connection, session: Session) -> None:
        try:
            await session.run()
        except Closed:
            return  # the reader sees it too
        except MailboxTaken:
            why = Close.TAKEN_OVER
        except (MailboxClosed, BusUnavailable):
            why = Close.TRY_AGAIN
        except Exception:
            _log.exception("session %s failed", session.session_id)
            why = Close.INTERNAL
        self._watch.close_soon(connection, why)

    def _login_ended(self, login_id: int) -> None:
        for connection in self._by_login.get(login_id, ()):
            self._watch.close_soon(connection, Close.LOGIN_ENDED)

    def _forget(self, login_id: int, connection: Connection) -> None:
        connections = self._by_login[login_id]
        connections.discard(connection)
        if not connections:
            del self._by_login[login_id]
