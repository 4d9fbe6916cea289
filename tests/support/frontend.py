"""A simulated frontend: it does with the notification socket what the contract says that the real one relies on.

It reconnects by itself, resumes its session, remembers the *last* delivery id that came (not the highest), asks a
new session's server for what is above it, and merges by message id. Beyond the real one it checks: in every
session the deliveries must come in the order of their ids and without a gap.
"""

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Self

import aiohttp

from tests.support.api import Api, JsonObject, Refused
from tests.support.notification import PATIENCE, Kind, Notification, NotificationSocket, Opening, SocketClosed

LOST = (aiohttp.ClientError, SocketClosed, ConnectionError, TimeoutError)
"""What a broken connection or a server that isn't there looks like."""


class FrontendClient:
    """One device of a user. Use as an async context manager; `wait_until` waits for what must come.

    Attributes:
        messages: by id, each in the state of its highest delivery id.
        last: the last delivery id that came.
        came: every delivery id that came over the socket, in the order of coming.
        openings: the first frame of every connection.
    """

    def __init__(self, api: Api, *, retry: float = 0.1, heartbeat: float = 30.0, last: int = 0) -> None:
        self.api = api
        self.retry = retry
        self.heartbeat = heartbeat
        self.last = last
        self.session_id = ""
        self.messages: dict[int, JsonObject] = {}
        self.contacts: dict[int, JsonObject] = {}
        self.requests: dict[int, JsonObject] = {}
        self.handled_calls: list[int] = []
        self.came: list[int] = []
        self.openings: list[Opening] = []
        self.closings: list[SocketClosed] = []
        self.connected = False
        self.stay_away = False
        """While true it doesn't reconnect."""
        self._socket: NotificationSocket | None = None
        self._syncing_to = 0
        self._next: int | None = None
        self._changed = asyncio.Condition()
        self._tasks = asyncio.TaskGroup()
        self._runner: asyncio.Task[None] | None = None
        self._syncs: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._runner = self._tasks.create_task(self._run())
        await self.wait_until(lambda: self.connected, "the first connection")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in (self._runner, *self._syncs):
            if task is not None:
                task.cancel()
        if error is None or isinstance(error, asyncio.CancelledError):
            await self._tasks.__aexit__(kind, error, trace)
        else:
            await self._tasks.__aexit__(None, None, None)  # what the test raised goes on as it is

    async def drop(self) -> None:
        """Lose the connection as a broken network does; it comes back after `retry` seconds."""
        if self._socket is not None:
            self._socket.abort()
        await self.wait_until(lambda: not self.connected, "the end of the connection")

    def forget_session(self) -> None:
        """The next connection asks for a new session, as that of a reloaded page does."""
        self.session_id = ""

    async def wait_until(self, done: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
        """Returns once `done()` is true; it is asked after everything that came."""
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(lambda: bool(done()))
        except TimeoutError:
            raise AssertionError(f"waited {timeout} s for {what}; {self.describe()}") from None

    async def wait_for_texts(self, texts: set[str], timeout: float = PATIENCE) -> None:
        await self.wait_until(lambda: texts <= self.texts(), f"{len(texts)} texts", timeout)

    async def wait_for_message(self, message_id: int, timeout: float = PATIENCE) -> JsonObject:
        await self.wait_until(lambda: message_id in self.messages, f"message {message_id}", timeout)
        return self.messages[message_id]

    async def wait_for_count(self, count: int, timeout: float = PATIENCE) -> None:
        await self.wait_until(lambda: len(self.messages) >= count, f"{count} messages", timeout)

    async def wait_until_revoked(self, message_id: int) -> JsonObject:
        await self.wait_until(lambda: self.messages[message_id]["revoked"], f"the revocation of {message_id}")
        return self.messages[message_id]

    def texts(self) -> set[str]:
        return {message["text"] for message in self.messages.values()}

    def room(self, room_id: int) -> list[JsonObject]:
        """What it shows of a room, oldest first."""
        return [message for _, message in sorted(self.messages.items()) if message["roomId"] == room_id]

    def describe(self) -> str:
        return (
            f"connected {self.connected}, last delivery {self.last}, {len(self.messages)} messages, "
            f"{len(self.openings)} connections, syncing {len(self._syncs)}, closings {self.closings[-3:]}"
        )

    async def _run(self) -> None:
        while True:
            if not self.stay_away:
                with contextlib.suppress(*LOST):
                    await self._connection()
                await self._set_connected(False)
            await asyncio.sleep(self.retry)

    async def _connection(self) -> None:
        asked = self.session_id
        socket = await self.api.connect(asked)
        self._socket = socket
        beating = self._tasks.create_task(self._beat(socket))
        try:
            await self._opened(await socket.opening(), asked)
            while True:
                await self._notified(await socket.notification(None))
        except SocketClosed as end:
            self.closings.append(end)
            raise
        finally:
            beating.cancel()
            self._socket = None
            with contextlib.suppress(*LOST):
                await socket.close()

    async def _beat(self, socket: NotificationSocket) -> None:
        with contextlib.suppress(*LOST):
            while True:
                await asyncio.sleep(self.heartbeat)
                await socket.heartbeat()

    async def _opened(self, opening: Opening, asked: str) -> None:
        self.openings.append(opening)
        if opening.resumed:
            assert opening.session_id == asked, (opening, asked)
            self._next = None
        else:
            assert opening.last_delivery_id is not None
            assert opening.last_delivery_id >= self.last, (opening, self.last)
            self._next = opening.last_delivery_id + 1
            self._syncing_to = max(self._syncing_to, opening.last_delivery_id)
            if opening.last_delivery_id > self.last:
                task = self._tasks.create_task(self._sync(self.last, opening.last_delivery_id))
                self._syncs.add(task)
                task.add_done_callback(self._syncs.discard)
        self.session_id = opening.session_id
        await self._set_connected(True)

    async def _notified(self, notification: Notification) -> None:
        payload = notification.payload
        async with self._changed:
            match notification.kind:
                case Kind.MESSAGE:
                    self._delivered(payload["deliveryId"])
                    self._merge(payload)
                case Kind.CONTACT:
                    self.contacts[payload["contactId"]] = payload
                case Kind.CONTACT_REQUEST:
                    self.requests[payload["id"]] = payload
                case Kind.CALL_HANDLED:
                    self.handled_calls.append(payload)
            self._changed.notify_all()

    def _delivered(self, delivery_id: int) -> None:
        """Checks the order: in a connection each id follows the one before; the first of a resumed session
        may repeat what came already, but leaves nothing out."""
        if self._next is None:
            known = max(self.last, self._syncing_to)  # the sync of the session before may be under way
            assert delivery_id <= known + 1, f"resumed at {delivery_id} after {known}; {self.came[-5:]}"
        else:
            assert delivery_id == self._next, f"{delivery_id} came instead of {self._next}; {self.came[-5:]}"
        self._next = delivery_id + 1
        self.last = delivery_id
        self.came.append(delivery_id)

    def _merge(self, message: JsonObject) -> None:
        known = self.messages.get(message["messageId"])
        if known is None or known["deliveryId"] <= message["deliveryId"]:
            self.messages[message["messageId"]] = message

    async def _sync(self, synced: int, newest: int) -> None:
        """Fetches the deliveries above `synced`, up to `newest`, page by page from the newest down."""
        upper = newest + 1
        while upper > synced + 1:
            try:
                page = await self.api.sync(synced, last=upper)
            except LOST:
                await asyncio.sleep(self.retry)
                continue
            except Refused as refused:
                assert refused.http_status in (500, 503), refused
                await asyncio.sleep(self.retry)
                continue
            ids = [message["deliveryId"] for message in page]
            assert ids, f"nothing between {synced} and {upper}"
            assert ids == list(range(upper - 1, upper - 1 - len(ids), -1)), (synced, upper, ids)
            assert ids[-1] > synced, (synced, ids)
            async with self._changed:
                for message in page:
                    self._merge(message)
                self._changed.notify_all()
            upper = ids[-1]
        async with self._changed:
            self.last = max(self.last, newest)
            self._changed.notify_all()

    async def _set_connected(self, connected: bool) -> None:
        async with self._changed:
            self.connected = connected
            self._changed.notify_all()
