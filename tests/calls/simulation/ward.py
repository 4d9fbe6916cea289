"""Where the doctor watches over a simulated world."""

from server.calls.codec import decode_record
from server.calls.doctor import Facts, Finding, InDatabase, InProcess, OnBus, examine
from server.calls.names import CALL_PREFIX, INBOX_TTL, STATE_KEY, call_of
from server.clock import epoch_millis
from tests.calls.memory_store import message_of
from tests.calls.simulation.world import RULES, World

RECOVERY = 45.0
"""Seconds of peace after which all must agree: what was lost is noticed by then, round by round."""
LEFT_BEHIND = INBOX_TTL + 10.0
"""Seconds after which the mailboxes of the dead have run out, and sockets of which nothing is heard are closed."""


class Ward:
    """Has the doctor look again and again: in peace nothing may disagree for long."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._since: dict[Finding, float] = {}

    def look(self) -> None:
        now = self._world.loop.time()
        if int(now) % 5:
            return
        begin = max((when for when, _ in self._world.troubles), default=0.0)
        found = examine(facts_of(self._world), RULES)
        self._since = {finding: max(self._since.get(finding, now), begin) for finding in found}
        lasting = [finding for finding, since in self._since.items() if now - since > _patience(finding)]
        assert not lasting, f"still: {lasting}"


def _patience(finding: Finding) -> float:
    return LEFT_BEHIND if "mailbox" in finding.text or "socket" in finding.text else RECOVERY


def facts_of(world: World) -> Facts:
    """What the doctor looks at."""
    rows: dict[int, InDatabase] = {}
    for call_id, row in world.database.rows.items():
        entity = message_of(row.record.call).call
        assert entity is not None
        rows[call_id] = InDatabase(entity, row.record, frozenset(entity.members), call_id)
    on_bus = {}
    for held in world.hub.survey(CALL_PREFIX):
        state = world.hub.values.get((held.group, STATE_KEY))
        record = None if state is None else decode_record(state)
        on_bus[call_of(held.group)] = OnBus(held.leased, held.mailboxes, held.keys, record)
    processes = [
        InProcess(
            {call_id: manager.call for call_id, manager in server.calls.managers.items()},
            [(seat.call_id, seat.user_id) for seat in server.calls.seats],
        )
        for server in world.servers.values()
    ]
    return Facts(epoch_millis(world.clock.now()), rows, dict(world.database.reservations), on_bus, processes)
