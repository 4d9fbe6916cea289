"""Calls as people make them: who may do what, and what they are told."""

import asyncio
from collections.abc import Sequence

from server.calls.events import HangUp, Join
from server.calls.registry import Calls
from server.calls.state import new_call
from server.clock import epoch_millis
from server.config.settings import Calls as CallSettings
from server.errors import ApiError, ErrorCode
from server.model.entities import Call
from server.model.enums import CallStatus
from server.services.notifier import Notifier
from server.services.tokens import Tokens
from server.store import Store
from server.store.calls import CallEvent


class CallService:
    def __init__(self, store: Store, calls: Calls, notifier: Notifier, tokens: Tokens, settings: CallSettings) -> None:
        self._store = store
        self._calls = calls
        self._notifier = notifier
        self._tokens = tokens
        self._settings = settings

    async def create(self, user_id: int, contact_id: int, user_ids: Sequence[int]) -> int:
        """Call these members of the contact; gives the call's id. It is ready a moment later.

        Raises:
            ApiError: CALL_NEEDS_OTHERS, CONTACT_NOT_FOUND, FORBIDDEN, FIELD_INVALID, CALLER_BUSY, CALLEE_BUSY
        """
        callees = [callee for callee in dict.fromkeys(user_ids) if callee != user_id]
        if not callees:
            raise ApiError(ErrorCode.CALL_NEEDS_OTHERS)
        if len(callees) >= (most := self._settings.members):
            rule = (f"最多 {most} 位成员", f"at most {most} members, the caller included")
            raise ApiError(ErrorCode.FIELD_INVALID, field="userIds", rule=rule)
        created = await self._store.calls.create(user_id, contact_id, callees)
        call = created.call
        state = new_call(call.call_id, call.members, epoch_millis(call.created_at))
        await asyncio.gather(self._notifier.deliver(created.deliveries), self._calls.begin(state))
        return call.call_id

    async def join(self, user_id: int, call_id: int) -> str:
        """A token for the call's socket.

        Raises:
            ApiError: CALL_NOT_FOUND, FORBIDDEN, CALL_ENDED, CALL_NOT_READY, CALLER_BUSY, CALL_MANAGER_GONE
        """
        call = await self._open(user_id, call_id)
        if call.status is CallStatus.NEW:
            self._calls.want(call_id)  # usually it has a manager, which is about to make it ready
            raise ApiError(ErrorCode.CALL_NOT_READY)
        await self._calls.ask(call_id, Join(user_id))
        return self._tokens.for_call(call_id, user_id)

    async def hang_up(self, user_id: int, call_id: int) -> None:
        """Leave the call, or reject it before having joined.

        Raises:
            ApiError: CALL_NOT_FOUND, FORBIDDEN, CALL_ENDED, CALL_MANAGER_GONE
        """
        await self._open(user_id, call_id)
        await self._calls.ask(call_id, HangUp(user_id))

    async def get(self, user_id: int, call_id: int) -> Call:
        """Raises ApiError (CALL_NOT_FOUND, FORBIDDEN)."""
        call = await self._store.calls.get(call_id)
        if call is None:
            raise ApiError(ErrorCode.CALL_NOT_FOUND)
        if user_id not in call.members:
            raise ApiError(ErrorCode.FORBIDDEN)
        return call

    async def history(self, user_id: int, before: int | None, limit: int) -> Sequence[Call]:
        """The user's calls (older than the call `before`), the latest first."""
        return await self._store.calls.history(user_id, before, limit)

    async def timeline(self, user_id: int, call_id: int) -> Sequence[CallEvent]:
        """What happened in the call, in order. Raises ApiError (CALL_NOT_FOUND, FORBIDDEN)."""
        await self.get(user_id, call_id)
        return await self._store.calls.timeline(call_id)

    async def _open(self, user_id: int, call_id: int) -> Call:
        call = await self.get(user_id, call_id)
        if call.status is CallStatus.END:
            raise ApiError(ErrorCode.CALL_ENDED)
        return call
