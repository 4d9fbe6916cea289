"""A person: an account, a device that rings, and the call that they are in."""

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from aiortc import RTCIceServer

from tests.participant.mesh import MeshPage
from tests.support.account import Account
from tests.support.api import JsonObject
from tests.support.call import CallsApi, Status
from tests.support.call_page import members_of
from tests.support.frontend import FrontendClient


class Person:
    """Use as an async context manager: inside, the device is connected and calls can be made and taken. At the end
    the page and the device are closed, which is no hang-up.

    Attributes:
        page: the page of the last call that they called or answered.
    """

    def __init__(self, account: Account, *, use_ice: bool = False, relay_only: bool = False) -> None:
        """`use_ice`: with the STUN and TURN servers that the server tells; `relay_only`: with nothing but TURN."""
        self.account = account
        self._use_ice = use_ice or relay_only
        self._relay_only = relay_only
        self._page: MeshPage | None = None
        self._device: FrontendClient = account.frontend()
        self._open = AsyncExitStack()

    @property
    def user_id(self) -> int:
        return self.account.user_id

    @property
    def page(self) -> MeshPage:
        assert self._page is not None, "in no call"
        return self._page

    @property
    def talks(self) -> bool:
        """Whether they are in a call."""
        return self._page is not None and not self._page.over

    @property
    def calls(self) -> CallsApi:
        return CallsApi(self.account.api)

    async def __aenter__(self) -> Self:
        await self._open.enter_async_context(self._device)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.__aexit__(kind, error, trace)

    async def call(self, contact_id: int, user_ids: list[int]) -> MeshPage:
        """Call members of a contact, and wait in the call for them."""
        return await self._enter(await self.calls.create(contact_id, user_ids))

    async def rung(self) -> int:
        """The id of a call of somebody else that rings here, once there is one."""
        await self._device.wait_until(lambda: self._ringing() is not None, "a call that rings")
        ringing = self._ringing()
        assert ringing is not None
        return int(ringing["callId"])

    async def answer(self, call_id: int) -> MeshPage:
        return await self._enter(call_id)

    async def reject(self, call_id: int) -> None:
        await self.calls.hang_up(call_id)

    async def hang_up(self) -> None:
        await self.calls.hang_up(self.page.call_id)

    async def ice_servers(self) -> list[RTCIceServer]:
        """What the server tells, with credentials for this person."""
        told = await self.calls.ice()
        return [
            RTCIceServer(server["urls"], server["username"] or None, server["credential"] or None)
            for server in told["iceServers"]
        ]

    def move_to(self, base: str) -> None:
        """From now on this person's requests and new sockets go to the server at `base`, as when another takes the
        place of one that died."""
        self.account = self.account.at(base)
        self._device.api = self.account.api
        if self._page is not None:
            self._page.api = self.account.api

    def _ringing(self) -> JsonObject | None:
        calls = [message["call"] for message in self._device.messages.values() if message["call"] is not None]
        ringing = (
            call
            for call in calls
            if call["status"] in (Status.READY, Status.ACTIVE)
            and not call["handled"]
            and call["callerId"] != self.user_id
            and call["callId"] not in self._device.handled_calls
        )
        return next(ringing, None)

    async def _enter(self, call_id: int) -> MeshPage:
        members = members_of(await self.calls.get(call_id))
        servers = await self.ice_servers() if self._use_ice else []
        page = MeshPage(self.account, call_id, members, ice_servers=servers, relay_only=self._relay_only)
        self._page = await self._open.enter_async_context(page)
        return self._page
