"""The state of a call as the bus keeps it."""

import logging

from server.bus.interface import Bus
from server.calls.codec import Record, Unreadable, decode_record
from server.calls.names import STATE_KEY, call_group

_log = logging.getLogger(__name__)


async def record_on_bus(bus: Bus, call_id: int) -> Record | None:
    """None if there is none, or none that can be read: then the database knows best. Raises BusUnavailable."""
    data = await bus.get(call_group(call_id), STATE_KEY)
    try:
        return None if data is None else decode_record(data)
    except Unreadable:
        _log.exception("call %d: its state on the bus can't be read", call_id)
        return None
