"""One connection of the call socket, and the numbers of calls as the wire contract has them."""

import json
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from tests.support.api import Api, JsonObject
from tests.support.notification import TextSocket


class Status(IntEnum):
    """Of a call."""

    NEW = 1
    READY = 2
    ACTIVE = 3
    END = 4


class Reason(IntEnum):
    """Why a call ended."""

    NONE = 0
    NORMAL = 1
    REJECTED = 2
    NO_ANSWER = 3
    BUSY = 4
    LOST = 5
    ERROR = 6
    CANCELLED = 7


class State(IntEnum):
    """Of a user in a call."""

    INVITED = 1
    REJECTED = 2
    ACCEPTED = 3
    ONLINE = 4
    OFFLINE = 5
    DEAD = 6


class FrameKind(IntEnum):
    UNAUTHORIZED = 1
    ALL_STATES = 2
    ONE_STATE = 3
    SIGNALING = 4
    HEARTBEAT = 5
    STARTED = 6
    ENDED = 7
    ERROR = 8


@dataclass(frozen=True, slots=True)
class Signal:
    """What another user said; `message` is opaque to the server."""

    from_user_id: int
    message: str


@dataclass(frozen=True, slots=True)
class CallFrame:
    """A frame of the call socket."""

    kind: FrameKind
    payload: str

    @classmethod
    def parse(cls, text: str) -> Self:
        body = json.loads(text)
        assert body.keys() == {"type", "payload"}, text
        assert type(body["type"]) is int, text
        assert isinstance(body["payload"], str), text
        return cls(FrameKind(body["type"]), body["payload"])

    def states(self) -> dict[int, State]:
        """The users' states that this frame tells, in its order; empty where it isn't of that kind."""
        match self.kind:
            case FrameKind.ALL_STATES:
                told = json.loads(self.payload)
            case FrameKind.ONE_STATE:
                told = [json.loads(self.payload)]
            case _:
                return {}
        assert all(each.keys() == {"userId", "state", "ping"} and type(each["ping"]) is int for each in told), self
        states = {each["userId"]: State(each["state"]) for each in told}
        assert len(states) == len(told), self
        return states

    def signal(self) -> Signal:
        assert self.kind is FrameKind.SIGNALING, self
        content = json.loads(self.payload)
        assert content.keys() == {"fromUserId", "message"}, self
        assert isinstance(content["message"], str), self
        return Signal(content["fromUserId"], content["message"])

    def reason(self) -> Reason:
        assert self.kind is FrameKind.ENDED, self
        assert self.payload.isdecimal(), self
        return Reason(int(self.payload))


class CallSocket(TextSocket):
    """Frames in and out."""

    @classmethod
    async def open(cls, api: Api, token: str, *, language: str = "") -> Self:
        """A socket at the server of `api` that has sent the call token."""
        headers = {"Accept-Language": language} if language else {}
        raw = await api.http.ws_connect(api.url("/ws/call"), max_msg_size=0, headers=headers)
        socket = cls(raw)
        await socket.send(token)
        return socket

    async def frame(self, timeout: float | None = 30.0) -> CallFrame:
        """The next frame. Raises SocketClosed, TimeoutError."""
        return CallFrame.parse(await self.receive(timeout))

    async def say(self, kind: int, payload: str) -> None:
        await self.send(json.dumps({"type": kind, "payload": payload}))

    async def heartbeat(self) -> None:
        await self.say(FrameKind.HEARTBEAT, "")

    async def signal(self, to_user_id: int, message: str) -> None:
        await self.say(FrameKind.SIGNALING, json.dumps({"toUserId": to_user_id, "message": message}))


class CallsApi:
    """The endpoints of calls for one login. Methods give the `data` of the answer and raise `Refused` for a failure."""

    def __init__(self, api: Api) -> None:
        self.api = api

    async def create(self, contact_id: int, user_ids: list[int]) -> int:
        """The new call's id."""
        call_id: int = await self.api.call("POST", "/call", json={"contactId": contact_id, "userIds": user_ids})
        assert type(call_id) is int, call_id
        return call_id

    async def join(self, call_id: int) -> str:
        """A token for the call's socket."""
        token: str = await self.api.call("POST", "/call/join", params={"callId": call_id})
        assert isinstance(token, str), token
        return token

    async def hang_up(self, call_id: int) -> None:
        assert await self.api.call("POST", "/call/hangup", params={"callId": call_id}) is None

    async def get(self, call_id: int) -> JsonObject:
        call: JsonObject = await self.api.call("GET", "/call", params={"callId": call_id})
        return call

    async def history(self, **query: int) -> list[JsonObject]:
        """`lastCallId`, `limit`."""
        calls: list[JsonObject] = await self.api.call("GET", "/call/history", params=query)
        return calls

    async def timeline(self, call_id: int) -> list[JsonObject]:
        events: list[JsonObject] = await self.api.call("GET", "/call/timeline", params={"callId": call_id})
        return events

    async def ice(self) -> JsonObject:
        servers: JsonObject = await self.api.call("GET", "/call/ice")
        return servers
