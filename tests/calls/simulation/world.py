"""The simulated world: what everybody shares, the servers in it, and a diary of what happened."""

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from server.bus.memory import MemoryHub
from server.calls.codec import Record
from server.calls.ports import CallTimes
from server.calls.state import CallState, Rules
from server.model.entities import Delivery
from tests.calls.invariants import check_call, check_reservations
from tests.calls.memory_store import MemoryDatabase
from tests.calls.simulation.loop import VirtualClock, VirtualLoop

if TYPE_CHECKING:
    from tests.calls.simulation.server import Server

TIMES = CallTimes()
RULES = Rules()


@dataclass
class Chances:
    """How likely each fault of the bus is just now."""

    slow: float = 0.0
    refused: float = 0.0
    repeated: float = 0.0


class World:
    """`note` writes the diary, which a failing run prints."""

    def __init__(self, loop: VirtualLoop, seed: int) -> None:
        self.loop = loop
        self.random = random.Random(seed)
        self.clock = VirtualClock(loop)
        self.hub = MemoryHub()
        self.database = CheckedDatabase(self)
        self.chances = Chances()
        self.database_away = False
        self.failures: list[BaseException] = []
        self.limbo: list[asyncio.Future[None]] = []
        """What the dead wait for."""
        self.diary: list[tuple[float, str]] = []
        self.troubles: list[tuple[float, str]] = []
        """When what was done by the adversary: kill:<server>, flush, break:<user>, …"""
        self.servers: dict[str, Server] = {}
        """Those that are up, by name."""
        self.people: dict[int, Listener] = {}

    def note(self, text: str) -> None:
        self.diary.append((self.loop.time(), text))

    def trouble(self, what: str) -> None:
        self.note(f"*** {what}")
        self.troubles.append((self.loop.time(), what))

    def story(self) -> str:
        return "\n".join(f"{when:9.3f}  {text}" for when, text in self.diary)


class Listener(Protocol):
    """Who is notified."""

    def notified(self, delivery: Delivery) -> None: ...


def describe(call: CallState) -> str:
    """A call in a line."""
    members = " ".join(
        f"{member.user_id}:{member.state.name.lower()}{'' if member.reserved else '-'}" for member in call.members
    )
    return f"call {call.call_id} v{call.version} {call.status.name} {call.reason.name.lower()} [{members}]"


class CheckedDatabase(MemoryDatabase):
    """Checks the invariants at every write."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def save(self, record: Record, *, tell: bool) -> list[Delivery]:
        before = self.rows[record.call.call_id].record.call
        deliveries = super().save(record, tell=tell)
        after = self.rows[record.call.call_id].record.call
        if after is not before:
            self._world.note(f"saved {describe(after)} by fence {record.fence}")
            check_call(after, RULES)
            assert after.status >= before.status, (before, after)
            assert after.handled >= before.handled, (before, after)
            check_reservations(row.record.call for row in self.rows.values())
        return deliveries
