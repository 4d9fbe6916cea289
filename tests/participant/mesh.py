"""A call page that talks: the simulated page with a connection to each of the others."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from aiortc import RTCBundlePolicy, RTCConfiguration, RTCIceServer, RTCIceTransportPolicy, RTCPeerConnection

from tests.participant.impressions import Impression
from tests.participant.link import Link
from tests.participant.media import Media
from tests.support.account import Account
from tests.support.call import CallFrame, FrameKind, State
from tests.support.call_page import LOST, CallPage
from tests.support.notification import PATIENCE

MEDIA_SEEN = 9
"""To the server, beside the contract: whose picture or sound arrives now."""

_GONE = {State.REJECTED, State.DEAD}
_LOOK = 0.05


class MeshPage(CallPage):
    """One person's page in a mesh call among `members`. Each sends and looks for the tone and the picture of its place
    among them.

    Attributes:
        impressions: what is heard and seen of each of the others.
    """

    def __init__(
        self,
        account: Account,
        call_id: int,
        members: Sequence[int],
        *,
        ice_servers: Sequence[RTCIceServer] = (),
        relay_only: bool = False,
    ) -> None:
        """`relay_only`: no media but through a TURN server."""
        super().__init__(account, call_id)
        self._configuration = RTCConfiguration(
            iceServers=list(ice_servers),
            iceTransportPolicy=RTCIceTransportPolicy.RELAY if relay_only else RTCIceTransportPolicy.ALL,
            bundlePolicy=RTCBundlePolicy.MAX_BUNDLE,
        )
        numbers = {user_id: number for number, user_id in enumerate(members)}
        self._media = Media(numbers[self.user_id])
        self.impressions: Mapping[int, Impression] = {
            user_id: Impression(number) for user_id, number in numbers.items() if user_id != self.user_id
        }
        self._links = {user_id: self._link(user_id) for user_id in self.impressions}

    async def wait_for_media(
        self, sounds: int, pictures: int, *, of: Sequence[int] = (), timeout: float = PATIENCE
    ) -> None:
        """Returns once so many good frames more than now came of each of the others, or of these users."""
        whom = of or list(self.impressions)
        wanted = {user_id: self.impressions[user_id].ahead(sounds, pictures) for user_id in whom}
        await self._look_until(lambda: all(done() for done in wanted.values()), f"media of {whom}", timeout)

    async def renegotiate(self, user_id: int, timeout: float = PATIENCE) -> None:
        """Offer to another on the connection that there is; returns once it is answered."""
        link = self._links[user_id]
        before = link.answered
        link.offer()
        await self._look_until(lambda: link.answered > before, f"an answer of {user_id}", timeout)

    async def _look_until(self, done: Callable[[], bool], what: str, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not done():
            assert self._runner is not None
            if self._runner.done():
                await self._runner
            assert not self.over, f"the call is over while waiting for {what}; {self.describe()}"
            assert time.monotonic() < deadline, f"waited {timeout} s for {what}; {self.describe()}"
            await asyncio.sleep(_LOOK)

    def _link(self, user_id: int) -> Link:
        return Link(
            self.user_id,
            user_id,
            connect=self._connect,
            say=partial(self._say, user_id),
            impression=self.impressions[user_id],
            sensed=partial(self._sensed, user_id),
        )

    def _connect(self) -> RTCPeerConnection:
        return self._media.connection(self._configuration)

    async def _say(self, user_id: int, message: str) -> None:
        """What a page without a socket says is lost."""
        if self.socket is not None:
            with contextlib.suppress(*LOST):
                await self.socket.signal(user_id, message)

    async def _sensed(self, user_id: int) -> None:
        if self.socket is not None:
            with contextlib.suppress(*LOST):
                await self.socket.say(MEDIA_SEEN, str(user_id))

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as links:
            running = [links.create_task(link.run()) for link in self._links.values()]
            await super()._run()
            for link in running:
                link.cancel()

    async def _take(self, frame: CallFrame) -> None:
        before = dict(self.states)
        await super()._take(frame)
        for user_id, state in frame.states().items():
            if user_id != self.user_id and before.get(user_id) is not state:
                self._changed_to(self._links[user_id], state)
        if frame.kind is FrameKind.SIGNALING:
            signal = frame.signal()
            self._links[signal.from_user_id].hear(signal.message)

    def _changed_to(self, link: Link, state: State) -> None:
        if state is State.ONLINE:
            link.appeared()
        elif state in _GONE:
            link.left()
        else:
            link.lost_sight()
