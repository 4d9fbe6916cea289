"""The command `doctor`: whether what the database and the bus say of calls agrees."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from server.app import make_bus
from server.bus.interface import Bus
from server.calls.doctor import Facts, Finding, InDatabase, OnBus, examine, lasting, look_at_bus
from server.calls.durable import record_of
from server.calls.ports import CallTimes
from server.clock import SystemClock, epoch_millis
from server.config.settings import Settings
from server.model.enums import CallStatus
from server.runtime.metrics import Metrics
from server.store import open_store
from server.store.call_census import CallCensus
from server.store.errors import StoreUnavailable
from server.store.sqlite import path as sqlite_path

PAUSE = 5.0
"""Seconds between two looks: what was on its way in the first has arrived by the second."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`facts` are those of the last look."""

    facts: Facts
    findings: Sequence[Finding]

    def lines(self) -> list[str]:
        """For the operator."""
        opened = sum(call.row.status is not CallStatus.END for call in self.facts.calls.values())
        lines = [f"database: {opened} open calls, {len(self.facts.reserved)} users in calls"]
        if self.facts.bus is None:
            lines.append("bus: in the memory of the server, not looked at")
        else:
            lines.append(f"bus: {len(self.facts.bus)} calls")
        lines += [f"call {finding.call_id} {finding.text}" for finding in self.findings]
        lines.append(f"{len(self.findings)} findings" if self.findings else "everything agrees")
        return lines


async def diagnose(settings: Settings, *, pause: float = PAUSE) -> Diagnosis:
    """Look, and where something doesn't agree, look again after `pause` seconds. Changes nothing.

    Raises:
        StoreUnavailable, SchemaOutdated, BusUnavailable
    """
    clock = SystemClock()
    if settings.mysql is None and not sqlite_path(settings.data_dir).exists():
        raise StoreUnavailable(f"there is no database in {settings.data_dir.resolve()}")
    rules = CallTimes(settings.calls.ring, settings.calls.heartbeat_timeout).rules
    store = await open_store(settings, clock, may_migrate=False)
    try:
        bus = None if settings.redis is None else make_bus(settings, clock, Metrics())
        if bus is not None:
            await bus.start()
        try:
            census = CallCensus(store.database)
            facts = await _look(census, bus, clock)
            findings = examine(facts, rules)
            if findings:
                await asyncio.sleep(pause)
                facts = await _look(census, bus, clock)
                findings = lasting(findings, examine(facts, rules))
        finally:
            if bus is not None:
                await bus.close()
    finally:
        await store.close()
    return Diagnosis(facts, findings)


async def _look(census: CallCensus, bus: Bus | None, clock: SystemClock) -> Facts:
    on_bus: dict[int, OnBus] | None = None if bus is None else await look_at_bus(bus)
    found = await census.take(on_bus or ())
    calls = {
        call_id: InDatabase(call.stored.call, record_of(call.stored), call.listed, call.message_call)
        for call_id, call in found.calls.items()
    }
    return Facts(epoch_millis(clock.now()), calls, found.reserved, on_bus)
