"""Everything that asks the bus and must have an answer in time."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from server.bus.interface import Address, Bus, BusUnavailable, Post
from server.clock import SystemClock
from tests.bus.waiting import now

TTL = 30.0
SLOW = 5.0
"""Seconds that a busy machine may add to a time limit."""


def _operations(bus: Bus) -> dict[str, Callable[[], Awaitable[object]]]:
    due = SystemClock().now() + timedelta(seconds=TTL)
    address = Address("user:operations", "phone")
    return {
        "ping": bus.ping,
        "open_mailbox": lambda: bus.open_mailbox(address, ttl=TTL, create=True),
        "post": lambda: bus.post([Post("user:operations", b"data")]),
        "mailboxes": lambda: bus.mailboxes("user:operations"),
        "set_timer": lambda: bus.set_timer("operations:1", due),
        "drop_timer": lambda: bus.drop_timer("operations:2"),
        "acquire": lambda: bus.acquire("operations:1", TTL),
        "forget_lease": lambda: bus.forget_lease("operations:2"),
        "get": lambda: bus.get("user:operations", "key"),
        "put": lambda: bus.put("user:operations", "key", b"value", TTL),
        "delete": lambda: bus.delete("user:operations", "other"),
        "claim": lambda: bus.claim("user:operations", "claim", b"value", TTL),
        "unclaim": lambda: bus.unclaim("user:operations", "unclaim", b"value"),
        "claim_many": lambda: bus.claim_many(["user:operations", "user:2"], "claims", b"value", TTL),
        "increment": lambda: bus.increment("user:operations", "count", TTL),
        "add_member": lambda: bus.add_member("user:operations", "set", "member", TTL),
        "remove_member": lambda: bus.remove_member("user:operations", "set", "other"),
        "members": lambda: bus.members("user:operations", "set"),
        "survey": lambda: bus.survey("operations:"),
        "broadcast": lambda: bus.broadcast("operations", b"data"),
    }


async def assert_all_unavailable(bus: Bus, timeout: float) -> None:
    """Each says so within its time limit."""
    operations, since = _operations(bus), now()
    answers = await asyncio.gather(*(operation() for operation in operations.values()), return_exceptions=True)
    assert now() - since < timeout + SLOW
    carried_out = [
        name for name, answer in zip(operations, answers, strict=True) if not isinstance(answer, BusUnavailable)
    ]
    assert carried_out == []


async def assert_all_available(bus: Bus) -> None:
    for operation in _operations(bus).values():
        await operation()
