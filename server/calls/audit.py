"""Looks for sockets that went without a word: their process died, and their mailboxes with it."""

import asyncio
from collections.abc import Mapping

from server.bus.interface import Bus, BusUnavailable
from server.calls.events import SocketLost
from server.calls.manager import Manager
from server.calls.names import call_group, seat_name
from server.calls.outbox import Outbox
from server.model.enums import UserState

_STEP = 2.0
_ROUND = 30.0
"""Seconds in which every call is looked at once, trouble or not."""
_TROUBLE = 30.0
"""Seconds for which a suspicious call is looked at in every step: mailboxes outlive a dead process for a while."""
_MISSING = 3.0
"""Seconds after which a mailbox that isn't there means that the socket is gone; one that was only forgotten by the bus
is there again by then."""


class Audit:
    def __init__(self, bus: Bus, outbox: Outbox, managers: Mapping[int, Manager]) -> None:
        self._bus = bus
        self._outbox = outbox
        self._managers = managers
        self._suspects: dict[int, float] = {}
        self._missing: dict[tuple[int, int, int], float] = {}
        self._round: list[int] = []

    def suspect(self, call_id: int) -> None:
        self._suspects[call_id] = asyncio.get_running_loop().time() + _TROUBLE

    def suspect_all(self) -> None:
        for call_id in self._managers:
            self.suspect(call_id)

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            await asyncio.sleep(_STEP)
            now = asyncio.get_running_loop().time()
            self._suspects = {call_id: until for call_id, until in self._suspects.items() if until > now}
            for call_id in {*self._suspects, *self._next_of_round()}:
                try:
                    await self._look(call_id)
                except BusUnavailable:
                    break

    def _next_of_round(self) -> list[int]:
        if not self._round:
            self._round = list(self._managers)
        count = -(-len(self._managers) * int(_STEP) // int(_ROUND))
        chosen, self._round = self._round[:count], self._round[count:]
        return chosen

    async def _look(self, call_id: int) -> None:
        manager = self._managers.get(call_id)
        if manager is None:
            self._missing = {key: since for key, since in self._missing.items() if key[0] != call_id}
            return
        there = set(await self._bus.mailboxes(call_group(call_id)))
        now = asyncio.get_running_loop().time()
        for member in manager.call.members:
            key = (call_id, member.user_id, member.socket)
            if member.state is not UserState.ONLINE or seat_name(member.user_id) in there:
                self._missing.pop(key, None)
            elif now - self._missing.setdefault(key, now) >= _MISSING:
                del self._missing[key]
                self._outbox.say(call_id, SocketLost(member.user_id, member.socket))
            else:
                self.suspect(call_id)
