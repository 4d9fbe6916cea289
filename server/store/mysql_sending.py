"""Sends on MySQL: over one connection that is kept, and a lone one in a single round trip.

Latency is a count of round trips (0.3 to 0.5 ms each for a process that sleeps between them), and the transaction of
`sending` takes six. What a lone text message needs is therefore sent as one text of five statements: POST to socket
then takes 3.7 ms instead of 4.9 at 50 messages a second, and 2.3 instead of 5.5 at 500. It is the only SQL
written by hand, and it knows success alone: whatever else happens, it is rolled back, and the ordinary transaction
runs and finds out what is the matter.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import aiomysql
from pymysql.err import Error as DriverError
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from server.clock import Clock
from server.model.entities import Delivery
from server.store.database import Operation
from server.store.errors import StoreUnavailable
from server.store.mysql import CommitInDoubt, MysqlDatabase, is_closed, retried, transact
from server.store.sending import Outcome, SendRequest, SendResult, kept_local_id, send_all, sent_message
from server.store.writer import SendBackend

# STRAIGHT_JOIN goes through the members by the index (room_id, owner_id), so the counters are locked in the order of
# the users' ids like everywhere. A contact that isn't the sender's, or not normal, leaves the room NULL, which is
# an error; so is a repeated local id, and a member who is twice in the room. An error stops the statements behind it.
_MEMBERS = """
    contacts mine STRAIGHT_JOIN contacts member ON member.room_id = mine.room_id AND member.status = 1
    STRAIGHT_JOIN delivery_counters counter ON counter.user_id = member.owner_id
"""
_SEND = f"""
UPDATE {_MEMBERS} SET counter.last_id = counter.last_id + 1
    WHERE mine.contact_id = %(contact)s AND mine.owner_id = %(sender)s AND mine.status = 1;
INSERT INTO chat_messages
    (room_id, sender_id, type, text, image, thumbnail, call_id, revoked, local_id, created_at, updated_at)
    VALUES ((SELECT room_id FROM contacts WHERE contact_id = %(contact)s AND owner_id = %(sender)s AND status = 1),
        %(sender)s, %(type)s, %(text)s, '', '', 0, 0, %(local)s, %(now)s, %(now)s);
INSERT INTO message_deliveries (receiver_id, delivery_id, message_id, is_new, created_at)
    SELECT counter.user_id, counter.last_id, LAST_INSERT_ID(), 1, %(now)s FROM {_MEMBERS}
    WHERE mine.contact_id = %(contact)s AND mine.owner_id = %(sender)s AND mine.status = 1;
SELECT message.message_id, message.room_id, delivery.receiver_id, delivery.delivery_id
    FROM chat_messages message JOIN message_deliveries delivery ON delivery.message_id = message.message_id
    WHERE message.message_id = LAST_INSERT_ID() ORDER BY delivery.receiver_id;
COMMIT
"""  # noqa: S608  the pieces are constants


class _Cursor(aiomysql.Cursor):  # type: ignore[misc]
    async def _show_warnings(self, conn: Any) -> None:
        """The base class would send a statement of its own, in the middle of our results."""


class MysqlBackend(SendBackend):
    """Sends over one connection, made when it is needed first and again when it is lost."""

    share_from = 3

    def __init__(self, database: MysqlDatabase, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._connection: AsyncConnection | None = None

    async def close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()

    async def send(self, requests: Sequence[SendRequest]) -> list[Outcome]:
        async with self._database.guard(Operation.WRITE):
            try:
                return await retried(lambda: self._send(requests))
            except CommitInDoubt as doubt:
                # Those with a local id can be sent again without harm; of the others nobody can say.
                known = [request for request in requests if kept_local_id(request)]
                again = iter(await retried(lambda: self._send(known)) if known else [])
                return [
                    next(again) if kept_local_id(request) else StoreUnavailable(*doubt.args) for request in requests
                ]

    async def _send(self, requests: Sequence[SendRequest]) -> list[Outcome]:
        connection = await self._held()
        try:
            if len(requests) == 1 and not requests[0].image and not requests[0].thumbnail:
                result = await _send_lone(connection, requests[0], self._clock.now())
                if result is not None:
                    return [result]
            try:
                return await transact(connection, send_all, requests, self._clock.now(), careful=False)
            except IntegrityError:
                await connection.rollback()
                return await transact(connection, send_all, requests, self._clock.now(), careful=True)
        except DBAPIError as error:
            if error.connection_invalidated:
                await self._drop()
            else:
                await connection.rollback()
            raise
        except BaseException:
            await self._drop()
            raise

    async def _held(self) -> AsyncConnection:
        """The connection, unless the server has closed it meanwhile: then a new one."""
        if self._connection is not None:
            if not is_closed(await _driver(self._connection)):
                return self._connection
            await self._drop()
        self._connection = await self._database.connect()
        return self._connection

    async def _drop(self) -> None:
        """Whatever state it is in, it goes, and the server rolls back what wasn't committed."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.invalidate()
            await connection.close()


async def _send_lone(connection: AsyncConnection, request: SendRequest, now: datetime) -> SendResult | None:
    """Send a text in one round trip; None if that didn't work, and it is rolled back.

    Raises:
        CommitInDoubt: the connection was lost
    """
    driver = await _driver(connection)
    values = {
        "contact": request.contact_id,
        "sender": request.sender_id,
        "type": int(request.type),
        "text": request.text,
        "local": kept_local_id(request) or None,
        "now": now.replace(tzinfo=None),
    }
    rows: list[tuple[int, int, int, int]] = []
    try:
        async with driver.cursor(_Cursor) as cursor:
            await cursor.execute(_SEND, values)
            while await cursor.nextset():
                if cursor.description is not None:
                    rows = await cursor.fetchall()
    except DriverError as error:
        if is_closed(driver):
            raise CommitInDoubt(str(error)) from error
        await driver.rollback()
        return None
    message = sent_message(request, rows[0][0], rows[0][1], now)
    return SendResult(
        message, created=True, deliveries=[Delivery(receiver, number, True, message) for _, _, receiver, number in rows]
    )


async def _driver(connection: AsyncConnection) -> Any:
    """The aiomysql connection inside."""
    return (await connection.get_raw_connection()).driver_connection
