"""Calls."""

from server.api.routing import AnyRoute, Call, Route, Source
from server.clock import Clock
from server.errors import ErrorCode as E
from server.services.calls import CallService
from server.services.ice import Ice
from server.wire import bodies, objects

TAG = "Call"


class CallsApi:
    def __init__(self, calls: CallService, ice: Ice, clock: Clock) -> None:
        self._calls = calls
        self._ice = ice
        self._clock = clock

    async def create(self, call: Call[bodies.NewCall]) -> int:
        return await self._calls.create(call.me, call.input.contact_id, call.input.user_ids)

    async def join(self, call: Call[bodies.CallId]) -> str:
        return await self._calls.join(call.me, call.input.call_id)

    async def hang_up(self, call: Call[bodies.CallId]) -> None:
        await self._calls.hang_up(call.me, call.input.call_id)

    async def get(self, call: Call[bodies.CallId]) -> objects.Call:
        return objects.Call.of(await self._calls.get(call.me, call.input.call_id))

    async def history(self, call: Call[bodies.CallHistory]) -> list[objects.PastCall]:
        query = call.input
        calls = await self._calls.history(call.me, query.last_call_id or None, query.limit)
        return [objects.PastCall.of_member(one, call.me, self._clock.now()) for one in calls]

    async def timeline(self, call: Call[bodies.CallId]) -> list[objects.CallEvent]:
        events = await self._calls.timeline(call.me, call.input.call_id)
        return [objects.CallEvent.model_validate(event) for event in events]

    async def ice(self, call: Call[bodies.Nothing]) -> objects.IceServers:
        servers = [objects.IceServer.model_validate(server) for server in self._ice.servers(call.me)]
        return objects.IceServers(ice_servers=servers, ttl=self._ice.lifetime)

    def routes(self) -> list[AnyRoute]:
        return [
            Route(
                "POST", "/call", self.create, "Call members of a contact",
                bodies.NewCall, Source.BODY, int,
                (E.CALL_NEEDS_OTHERS, E.CONTACT_NOT_FOUND, E.FORBIDDEN, E.FIELD_INVALID, E.CALLER_BUSY, E.CALLEE_BUSY),
                tag=TAG,
            ),
            Route(
                "POST", "/call/join", self.join, "Join; gives the token for the call's socket",
                bodies.CallId, Source.QUERY, str,
                (
                    E.CALL_NOT_FOUND, E.FORBIDDEN, E.CALL_ENDED, E.CALL_NOT_READY, E.CALLER_BUSY,
                    E.CALL_MANAGER_GONE, E.FIELD_INVALID,
                ),
                tag=TAG,
            ),
            Route(
                "POST", "/call/hangup", self.hang_up, "Leave a call, or reject it before joining",
                bodies.CallId, Source.QUERY, None,
                (E.CALL_NOT_FOUND, E.FORBIDDEN, E.CALL_ENDED, E.CALL_MANAGER_GONE, E.FIELD_INVALID), tag=TAG,
            ),
            Route(
                "GET", "/call", self.get, "A call that I am a member of",
                bodies.CallId, Source.QUERY, objects.Call,
                (E.CALL_NOT_FOUND, E.FORBIDDEN, E.FIELD_INVALID), tag=TAG,
            ),
            Route(
                "GET", "/call/history", self.history, "My calls before lastCallId, the latest first",
                bodies.CallHistory, Source.QUERY, list[objects.PastCall], (E.FIELD_INVALID,), tag=TAG,
            ),
            Route(
                "GET", "/call/timeline", self.timeline, "What happened in a call that I am a member of",
                bodies.CallId, Source.QUERY, list[objects.CallEvent],
                (E.CALL_NOT_FOUND, E.FORBIDDEN, E.FIELD_INVALID), tag=TAG,
            ),
            Route(
                "GET", "/call/ice", self.ice, "STUN and TURN servers, with credentials for a while",
                bodies.Nothing, Source.QUERY, objects.IceServers, tag=TAG,
            ),
        ]  # fmt: skip
