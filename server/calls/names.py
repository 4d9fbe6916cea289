"""Where on the bus a call is: the names of its mailboxes and keys, and how long each lives (seconds)."""

from server.bus.interface import Address

CALL_PREFIX = "call:"
MANAGER = "manager"
STATE_KEY = "state"
RELEASED_TOPIC = "call-released"
"""Broadcast: the call of this id has no manager any more; somebody take it."""

INBOX_TTL = 60.0
"""What is said to a manager waits for the next one."""
SEAT_TTL = 10.0
"""Signaling to a socket that broke waits for its user's next one, which comes after 3 s."""
STATE_TTL = 3600.0
"""The manager puts its state again well before."""
STATE_RENEWAL = 1200.0
REPLIES_TTL = 10.0


def call_group(call_id: int) -> str:
    return f"{CALL_PREFIX}{call_id}"


def call_of(group: str) -> int:
    return int(group.removeprefix(CALL_PREFIX))


def seat_name(user_id: int) -> str:
    """The mailbox of the user's call socket."""
    return str(user_id)


def replies_address(process_id: str) -> Address:
    """The mailbox of the answers to what a process asks managers."""
    return Address(f"process:{process_id}", "replies")
