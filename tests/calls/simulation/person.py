"""People in the simulation: clients that follow the contract's rules, and tell the diary what they see."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

from server.bus.interface import BusUnavailable
from server.errors import ApiError, ErrorCode
from server.model.entities import Delivery
from server.model.enums import CallStatus, EndReason, UserState
from server.store.errors import StoreUnavailable
from server.wire.call import CallFrameType
from tests.calls.simulation.server import ConnectionLost, ServedSocket, Server
from tests.calls.simulation.world import World

if TYPE_CHECKING:
    from tests.calls.simulation.crowd import Crowd

HEARTBEAT = 10.0
RECONNECT = 3.0
FIRST = {CallFrameType.ALL_USER_STATES, CallFrameType.ENDED, CallFrameType.UNAUTHORIZED, CallFrameType.ERROR}


class Up(NamedTuple):
    """A time in which a page had a socket that worked, and where."""

    begin: float
    end: float
    server: Server


class Page:
    """The call page of one person: it opens its socket again and again until it is told not to."""

    def __init__(self, person: "Person", call_id: int, members: tuple[int, ...]) -> None:
        self.person = person
        self.world = person.world
        self.call_id = call_id
        self.members = members
        self.token = f"{call_id}-{person.user_id}-{self.world.loop.time()}"
        self.over = False
        self.started = False
        self.reason: EndReason | None = None
        self.socket: ServedSocket | None = None
        self.up_since: float | None = None
        self.down_since: float | None = self.world.loop.time()
        self.longest_away = 0.0
        self.states: dict[int, UserState] = {}
        self.frames = 0
        self.last_heard: dict[int, int] = {}
        self.heard: dict[int, set[int]] = {}
        self.said = len(person.pages) * 100_000
        self.sent: list[tuple[float, int, int]] = []
        """(when, to whom, number)"""
        self.ups: list[Up] = []
        self.task = asyncio.ensure_future(self._heartbeats())

    def away(self) -> float:
        """Seconds for which it has had no socket that works."""
        return 0.0 if self.down_since is None else self.world.loop.time() - self.down_since

    def connect(self) -> None:
        if self.over:
            return
        server = self.person.choose_server()
        if server is None:
            self.world.loop.call_later(RECONNECT, self.connect)
            return
        self.frames = 0
        self.last_heard = {}
        self.socket = ServedSocket(server, self, self.call_id, self.person.user_id, self.token)
        self.world.note(f"{self.person.user_id} opens a socket of call {self.call_id} at {server.name}")

    def closed(self, socket: ServedSocket) -> None:
        if socket is not self.socket:
            return
        self.went_down()
        self.socket = None
        if not self.over:
            self.world.note(f"{self.person.user_id} lost the socket of call {self.call_id}")
            self.world.loop.call_later(RECONNECT, self.connect)

    def went_down(self) -> None:
        """Nothing passes any more, whether the page has noticed or not."""
        now = self.world.loop.time()
        if self.up_since is not None and self.socket is not None:
            self.ups.append(Up(self.up_since, now, self.socket.server))
            self.up_since, self.down_since = None, now

    def leave(self) -> None:
        """Close the page."""
        self.over = True
        self.task.cancel()
        self.went_down()
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    async def _heartbeats(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT)
            self._say(CallFrameType.HEARTBEAT, "")

    def _say(self, kind: CallFrameType, payload: str) -> None:
        if self.socket is not None:
            self.socket.say(json.dumps({"type": kind, "payload": payload}))

    # what comes

    def received(self, socket: ServedSocket, text: str) -> None:
        if socket is not self.socket or self.over:
            return
        frame = json.loads(text)
        kind, payload = CallFrameType(frame["type"]), frame["payload"]
        self.frames += 1
        if self.frames == 1:
            first = {
                CallFrameType.ALL_USER_STATES,
                CallFrameType.ENDED,
                CallFrameType.UNAUTHORIZED,
                CallFrameType.ERROR,
            }
            assert kind in first, f"the first frame to {self.person.user_id} is {text}"
        match kind:
            case CallFrameType.ALL_USER_STATES:
                if self.down_since is not None:
                    self.longest_away = max(self.longest_away, self.away())
                    self.up_since, self.down_since = self.world.loop.time(), None
                states = json.loads(payload)
                assert [state["userId"] for state in states] == list(self.members)
                for state in states:
                    self._see(state["userId"], UserState(state["state"]))
            case CallFrameType.ONE_USER_STATE:
                state = json.loads(payload)
                self._see(state["userId"], UserState(state["state"]))
            case CallFrameType.SIGNALING:
                content = json.loads(payload)
                self._signal(content["fromUserId"], content["message"])
            case CallFrameType.STARTED:
                self.started = True
            case CallFrameType.ENDED:
                self._ended(EndReason(int(payload)))
            case CallFrameType.UNAUTHORIZED:
                self.world.note(f"{self.person.user_id} is sent away from call {self.call_id}")
                self._out()
            case CallFrameType.ERROR:
                self.world.note(f"{self.person.user_id} is told in call {self.call_id}: {payload}")
            case _:
                raise AssertionError(text)

    def _see(self, user_id: int, state: UserState) -> None:
        if self.states.get(user_id) is state:
            return
        self.states[user_id] = state
        self.world.note(f"{self.person.user_id} sees {user_id} {state.name.lower()} in call {self.call_id}")
        if state is UserState.DEAD:
            self.person.crowd.check_dead(self.call_id, user_id)
        if state is UserState.ONLINE and user_id > self.person.user_id:
            self._offer(user_id, 0)

    def _offer(self, user_id: int, attempt: int) -> None:
        """Offer, and again after three seconds without an answer."""
        if self.over or self.states.get(user_id) is not UserState.ONLINE or attempt > 3:
            return
        if attempt and self.heard.get(user_id, set()):
            return
        self.signal(user_id, "offer")
        self.world.loop.call_later(3.0, self._offer, user_id, attempt + 1)

    def signal(self, user_id: int, kind: str) -> None:
        self.said += 1
        if self.socket is not None:
            self.sent.append((self.world.loop.time(), user_id, self.said))
        self._say(CallFrameType.SIGNALING, f'{{"toUserId":{user_id},"message":"{kind} {self.said}"}}')

    def _signal(self, from_user_id: int, message: str) -> None:
        kind, _, said = message.partition(" ")
        number = int(said)
        last = self.last_heard.get(from_user_id, 0)
        assert number > last, f"{self.person.user_id} hears {number} after {last} from {from_user_id}"
        self.last_heard[from_user_id] = number
        self.heard.setdefault(from_user_id, set()).add(number)
        if kind == "offer":
            self.signal(from_user_id, "answer")

    def _ended(self, reason: EndReason) -> None:
        self.world.note(f"call {self.call_id} is over for {self.person.user_id}: {reason.name.lower()}")
        self.reason = reason
        if reason is EndReason.LOST:
            self.person.crowd.check_lost(self.call_id)
        self._out()

    def _out(self) -> None:
        self.leave()
        self.person.page_closed(self)


class Person:
    """Somebody with a frontend open."""

    def __init__(self, crowd: "Crowd", user_id: int) -> None:
        self.crowd = crowd
        self.world: World = crowd.world
        self.user_id = user_id
        self.page: Page | None = None
        self.pages: list[Page] = []
        self.left: set[int] = set()
        """Calls that this person hung up or walked away from."""
        self._seen = 0
        self._busy = False

    def choose_server(self) -> Server | None:
        servers = list(self.world.servers.values())
        return self.world.random.choice(servers) if servers else None

    async def request(self, what: Callable[[Server], Awaitable[None]]) -> ErrorCode | None:
        """An HTTP request to whichever server, tried again for a while if the connection is lost."""
        for _ in range(8):
            server = self.choose_server()
            if server is not None:
                try:
                    await server.request(what(server))
                except ApiError as error:
                    if error.code is not ErrorCode.CALL_MANAGER_GONE:
                        return error.code
                except (ConnectionLost, StoreUnavailable, BusUnavailable):
                    pass
                else:
                    return None
            await asyncio.sleep(1.0)
        return ErrorCode.UNAVAILABLE

    # what this person is told

    def notified(self, delivery: Delivery) -> None:
        """A delivery, perhaps repeated or late; what lies before it comes from the database."""
        for missed in self.world.database.delivered[self.user_id][self._seen : delivery.delivery_id]:
            self._seen = missed.delivery_id
            call = missed.message.call
            assert call is not None
            if call.status is CallStatus.READY and self.user_id not in call.handled_by:
                self.crowd.start(self._ring(call.call_id, call.members))

    def catch_up(self) -> None:
        """What the session does at its heartbeat."""
        if delivered := self.world.database.delivered.get(self.user_id):
            self.notified(delivered[-1])

    async def _ring(self, call_id: int, members: tuple[int, ...]) -> None:
        random = self.world.random
        if members[0] != self.user_id:
            await asyncio.sleep(random.choice([0.2, 1.0, 4.0, 20.0]) * random.random())
            choice = random.random()
            if choice < 0.08:
                return
            if choice < 0.16:
                self.left.add(call_id)
                await self.request(lambda server: server.hang_up(call_id, self.user_id))
                return
        if self.page is not None or self._busy:
            return
        self._busy = True
        try:
            refusal = await self.request(lambda server: server.join(call_id, self.user_id))
        finally:
            self._busy = False
        self.world.note(f"{self.user_id} joins call {call_id}: {refusal.name if refusal else 'yes'}")
        if refusal is None:
            self._open_page(call_id, members)

    def _open_page(self, call_id: int, members: tuple[int, ...]) -> None:
        page = self.page = Page(self, call_id, members)
        self.pages.append(page)
        page.connect()
        self.crowd.start(self._take_part(page))

    async def _take_part(self, page: Page) -> None:
        """Talk for a while, then hang up or just go."""
        random = self.world.random
        end = self.world.loop.time() + 5 + 60 * random.random()
        while not page.over and self.world.loop.time() < end:
            await asyncio.sleep(4 * random.random())
            if random.random() < 0.5:
                for user_id, state in page.states.items():
                    if state is UserState.ONLINE and user_id != self.user_id:
                        for _ in range(random.randrange(1, 4)):
                            page.signal(user_id, "candidate")
        if page.over:
            return
        self.left.add(page.call_id)
        if random.random() < 0.2:
            self.world.note(f"{self.user_id} walks away from call {page.call_id}")
            page.leave()
            self.page_closed(page)
            return
        self.world.note(f"{self.user_id} hangs up call {page.call_id}")
        await self.request(lambda server: server.hang_up(page.call_id, self.user_id))
        await asyncio.sleep(0.1)
        if not page.over:
            page.leave()
            self.page_closed(page)

    def page_closed(self, page: Page) -> None:
        if self.page is page:
            self.page = None
