"""`/ws/call`: a user's seat in a call."""

import asyncio
import hashlib
import logging

from aiohttp import web

from server.bus.interface import BusUnavailable
from server.calls.outlet import OutletClosed, SeatOverloaded
from server.calls.seat import Seat
from server.calls.seats import Seats
from server.config.settings import Calls as CallSettings
from server.config.settings import Sessions as SessionSettings
from server.errors import ApiError, ErrorCode, Language
from server.runtime.logs import call_id_var, user_id_var
from server.services.tokens import CallPass, Tokens
from server.sockets.close_codes import Close
from server.sockets.connection import Closed, Connection, ConnectionWatch
from server.store.errors import StoreUnavailable
from server.wire import call as wire
from server.wire.language import preferred

KIND = "call"

_log = logging.getLogger(__name__)


class _Outlet:
    """A connection, as a seat sees it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def send(self, text: str) -> None:
        try:
            await self._connection.send(text)
        except Closed as closed:
            raise OutletClosed from closed

    async def ping(self, payload: bytes) -> None:
        try:
            await self._connection.ping(payload)
        except Closed as closed:
            raise OutletClosed from closed


class CallEndpoint:
    """The handler of the call socket."""

    def __init__(
        self,
        seats: Seats,
        tokens: Tokens,
        watch: ConnectionWatch,
        settings: CallSettings,
        session_settings: SessionSettings,
    ) -> None:
        self._seats = seats
        self._tokens = tokens
        self._watch = watch
        self._settings = settings
        self._sessions = session_settings

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The life of one connection."""
        opened = self._seats.now()
        connection = Connection(
            request,
            frame_limit=self._settings.frame_limit,
            frames_per_second=self._settings.frames_per_second,
            characters_per_second=self._settings.characters_per_second,
            silence=2 * self._settings.heartbeat_timeout,  # the call's manager has given it up by then
            slow_after=self._sessions.slow_reader_timeout,
        )
        return await self._watch.serve(connection, KIND, self._serve(connection, request, opened))

    async def _serve(self, connection: Connection, request: web.Request, opened: int) -> None:
        """Raises Closed with the reason for the end."""
        token, call_pass = await self._authenticate(connection)
        user_id_var.set(call_pass.user_id)
        call_id_var.set(call_pass.call_id)
        language = preferred(request.headers.get("Accept-Language"))
        page = hashlib.sha256(token.encode()).hexdigest()[:16]
        seat = self._seats.seat(call_pass.call_id, call_pass.user_id, page, language, opened)
        connection.pong = seat.confirmed
        writer = asyncio.create_task(self._write(connection, seat), name=f"call:{seat.call_id}:{seat.user_id}")
        try:
            await self._read(connection, seat, language)
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            await seat.leave()

    async def _authenticate(self, connection: Connection) -> tuple[str, CallPass]:
        token = await connection.first_frame(self._sessions.first_frame_timeout)
        try:
            return token, self._tokens.read_call(token)
        except ApiError as error:
            await connection.send(wire.unauthorized_frame())
            raise Closed(Close.UNAUTHORIZED) from error

    async def _read(self, connection: Connection, seat: Seat, language: Language) -> None:
        while True:
            text = await connection.receive()
            try:
                answer = seat.heard(wire.parse(text))
            except wire.BadFrame as error:
                answer = wire.error_frame(ApiError(ErrorCode.BAD_REQUEST, detail=error.rule).text(language))
            except SeatOverloaded as error:
                raise Closed(Close.POLICY) from error
            if answer is not None and seat.inside:  # the states come first
                await connection.send(answer)

    async def _write(self, connection: Connection, seat: Seat) -> None:
        try:
            await seat.run(_Outlet(connection))
            why = Close.TAKEN_OVER if seat.replaced else Close.CALL_OVER
        except OutletClosed:
            return  # the reader sees it too
        except (BusUnavailable, StoreUnavailable):
            why = Close.TRY_AGAIN
        except Exception:
            _log.exception("call %d: the socket of user %d failed", seat.call_id, seat.user_id)
            why = Close.INTERNAL
        self._watch.close_soon(connection, why)
