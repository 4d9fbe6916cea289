"""The bus: its four parts and their guarantees. One contract suite holds every backend to this page.

Everything on the bus is volatile: a bus that forgot everything is a state its users must live with, and
`on_disruption` tells them when it may have happened. The database is the truth.

A *group* is a string such as ``user:42`` or ``call:7``. All that shares a group lives together (on Redis
Cluster: in one hash slot), so operations within a group are atomic.

Every method that talks to the bus raises `BusUnavailable` where the bus didn't answer in time; then the
operation may or may not have been carried out. Payloads are opaque bytes.
"""

from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol


class BusUnavailable(Exception):
    """The bus didn't answer within its time limit. What was asked may have happened all the same."""


class MailboxClosed(Exception):
    """The reader's mailbox is no longer its own."""


class MailboxTaken(MailboxClosed):
    """A newer reader opened the mailbox; it has everything that wasn't acknowledged."""


class MailboxLost(MailboxClosed):
    """The mailbox is gone: expired, overflowed, removed or forgotten by the bus. Entries may be lost."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a mailbox is: its group and its name within the group."""

    group: str
    name: str


class Entry(NamedTuple):
    """What a mailbox holds. `seq` grows by the order of posting, from 1, for the life of the mailbox."""

    seq: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Post:
    """`data` for every open mailbox of `group` (or the one called `name`)."""

    group: str
    data: bytes
    name: str | None = None


class Holdings(NamedTuple):
    """What a group has on the bus."""

    group: str
    leased: bool
    mailboxes: frozenset[str]
    keys: frozenset[str]


class Mailbox(Protocol):
    """The reading end. One reader at a time: opening the mailbox again, anywhere, takes it over.

    - Entries come in the order of posting, the same for every reader; those of one poster in the order of its calls.
    - At least once: what wasn't acknowledged is read again by the next reader.
    - It lives as long as its reader's process does and for `ttl` seconds longer.
    - It holds at most `capacity` entries that aren't acknowledged; one more and it is lost, so a
      reader that can't keep up costs bounded memory and learns of it.
    """

    @property
    def address(self) -> Address: ...

    @property
    def note(self) -> bytes:
        """What the last acknowledgement left beside the mailbox: a reader's bookmark for the next reader."""
        ...

    @property
    def fresh(self) -> bool:
        """Whether this opening made the mailbox (it didn't exist before)."""
        ...

    async def read(self, limit: int = 100) -> list[Entry]:
        """The next entries (at least one), once there are any. Costs nothing while there are none.

        Raises:
            MailboxTaken, MailboxLost: now or at any later call; unavailability is waited out.
        """
        ...

    def ack(self, seq: int, note: bytes | None = None) -> None:
        """Entries up to `seq` are done with (0: none, only leave the note). Returns at once; carried out with
        the next batch."""
        ...

    async def close(self, *, keep: bool) -> None:
        """Stop reading. `keep`: the mailbox goes on collecting for its `ttl`; else it is removed.

        Never raises; a mailbox that was taken over isn't touched.
        """
        ...


class Lease(Protocol):
    """Exclusive ownership of a name, renewed by the bus until it is released or lost."""

    @property
    def group(self) -> str: ...

    @property
    def fence(self) -> int:
        """Grows with every new owner of this name, even across a bus that forgot everything."""
        ...

    @property
    def held(self) -> bool:
        """False once the bus said that somebody else has it, or it couldn't be renewed for its time to live.

        After a bus that only forgot, the lease is taken again with the same fence if nobody else has it yet.
        """
        ...

    async def wait_lost(self) -> None:
        """Returns when `held` turns false without `release`."""
        ...

    async def put(self, key: str, value: bytes, ttl: float) -> bool:
        """Set a key of this group (see `Bus.get`) if the lease is still held, atomically; false if it isn't."""
        ...

    async def release(self) -> None:
        """Give it up; the next `acquire` gets it at once, and `on_lease_expired` isn't told. Never raises."""
        ...


TimerHandler = Callable[[str, bytes], Coroutine[Any, Any, None]]
GroupHandler = Callable[[str], Coroutine[Any, Any, None]]
TopicHandler = Callable[[bytes], None]


class Bus(Protocol):
    """One process' handle on the bus. `start` before use, `close` after; `close` ends what this handle owns:
    its mailboxes live on for their `ttl`, its leases are released."""

    @property
    def process_id(self) -> str:
        """Names this handle; unique among all that ever were."""
        ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def ping(self) -> float:
        """Seconds for a round trip. Raises BusUnavailable."""
        ...

    def on_disruption(self, callback: Callable[[], None]) -> None:
        """Called (in the event loop) whenever the bus may have forgotten or missed something and is back:
        after a lost connection, a time-out, a flush or a restart; and when another process died. Open
        mailboxes that the bus forgot have raised MailboxLost or will in a moment."""
        ...

    # mailboxes

    async def open_mailbox(
        self, address: Address, *, ttl: float, create: bool, capacity: int = 10_000, note: bytes = b""
    ) -> Mailbox:
        """Become the reader, from the first entry that wasn't acknowledged; the former reader gets MailboxTaken.

        `note` is the note of a mailbox that is made now. Raises MailboxLost if there is none and `create` is false.
        """
        ...

    async def post(self, posts: Sequence[Post]) -> list[int]:
        """Post in order; gives for each how many mailboxes took it (0: there is none).

        Posts of one group and one caller keep their order if awaited in order. Posts that wait at the
        same time travel together. At least once: a post whose answer got lost may be made again.
        """
        ...

    async def mailboxes(self, group: str) -> list[str]:
        """The names of the open (or kept) mailboxes of a group."""
        ...

    # timers

    async def set_timer(self, name: str, due: datetime, data: bytes = b"") -> None:
        """Set or move the deadline `name` (``kind:id``)."""
        ...

    async def drop_timer(self, name: str) -> None: ...

    def on_timer(self, kind: str, handler: TimerHandler) -> None:
        """Let this process fire timers called ``kind:…``: `handler(name, data)` runs once, in some live
        process, late rather than never, after `due`; again (elsewhere) if the handler raised or its process died."""
        ...

    # leases

    async def acquire(self, group: str, ttl: float) -> Lease | None:
        """The lease on `group`, or None while somebody else has it. A holder that can't renew it for `ttl` seconds
        loses it."""
        ...

    def on_lease_expired(self, prefix: str, handler: GroupHandler) -> None:
        """`handler(group)` runs in some live process about a second after a lease on a group that starts with
        `prefix` ran out without being released; again until somebody acquires it or calls `forget_lease`."""
        ...

    async def forget_lease(self, group: str) -> None:
        """Stop telling of the lease on `group`, which ran out."""
        ...

    # keys: `(group, key)` -> value or set

    async def get(self, group: str, key: str) -> bytes | None: ...

    async def put(self, group: str, key: str, value: bytes, ttl: float) -> None: ...

    async def delete(self, group: str, *keys: str) -> None: ...

    async def claim(self, group: str, key: str, value: bytes, ttl: float) -> bytes:
        """Set the key if it is free, or renew it if it has this value; gives the value it has now. Atomic."""
        ...

    async def unclaim(self, group: str, key: str, value: bytes) -> bool:
        """Delete the key if it has this value. Atomic."""
        ...

    async def claim_many(self, groups: Iterable[str], key: str, value: bytes, ttl: float) -> None:
        """Renew claims of many groups in few round trips; those held with another value stay as they are."""
        ...

    async def increment(self, group: str, key: str, ttl: float) -> int:
        """Add one to a counter that vanishes `ttl` seconds after it was made; gives the new count."""
        ...

    async def add_member(self, group: str, key: str, member: str, ttl: float) -> None: ...

    async def remove_member(self, group: str, key: str, member: str) -> None: ...

    async def members(self, group: str, key: str) -> set[str]: ...

    # as a whole

    async def survey(self, prefix: str) -> list[Holdings]:
        """What every group that starts with `prefix` has, for those who check that nothing is left. It isn't of one
        moment, and it walks over all that there is: not for everyday use."""
        ...

    # broadcast

    async def broadcast(self, topic: str, data: bytes) -> None:
        """Tell every live process, this one included. Best effort: that a process may have missed something shows
        as `on_disruption` there."""
        ...

    def on_broadcast(self, topic: str, handler: TopicHandler) -> None: ...
