"""What the calls need of the store and of the notifications, and no more."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from server.calls.codec import Record
from server.calls.state import Rules
from server.model.entities import Delivery
from server.store.calls import Superseded

__all__ = ["CallNotifier", "CallStore", "CallTimes", "Superseded"]


@dataclass(frozen=True, slots=True)
class CallTimes:
    """Seconds. See `config.settings.Calls`."""

    ring: float = 60.0
    heartbeat_timeout: float = 30.0
    lease: float = 3.0
    answer: float = 10.0

    @property
    def rules(self) -> Rules:
        return Rules(ring=round(self.ring * 1000), silence=round(self.heartbeat_timeout * 1000))


class CallStore(Protocol):
    """Raises `StoreUnavailable` from each method where the database doesn't answer."""

    async def record(self, call_id: int) -> Record | None:
        """The call as the database has it, or None."""
        ...

    async def take(self, call_id: int, fence: int) -> Record | None:
        """The same, and from now on no owner with a lower fence can change it.

        Raises:
            Superseded: there is one with a higher fence.
        """
        ...

    async def reserve(self, call_id: int, fence: int, user_ids: Iterable[int]) -> frozenset[int]:
        """Reserve those of the users who are in no other call; gives all of them that this call has now.

        Atomic: a unique key of the database sees to it that a user is in one call at most.

        Raises:
            Superseded
        """
        ...

    async def elsewhere(self, call_id: int, user_id: int) -> bool:
        """Whether another call has the user."""
        ...

    async def save(self, record: Record, *, tell: bool) -> Sequence[Delivery]:
        """Write the call, exactly its reservations, and its timeline's new entries, all at once.

        With `tell`, a change of the call's message is delivered to every member of the room, in the same
        transaction; the deliveries are returned. Once the database has the record (or a later version), saving it
        changes nothing, but `tell` still gives the latest deliveries.

        Raises:
            Superseded
        """
        ...

    async def open_calls(self) -> Sequence[int]:
        """The ids of all calls that haven't ended."""
        ...


class CallNotifier(Protocol):
    """The notification sockets."""

    async def deliver(self, deliveries: Sequence[Delivery]) -> None: ...

    async def call_handled(self, user_id: int, call_id: int) -> None: ...
