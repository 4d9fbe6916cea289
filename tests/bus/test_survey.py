"""A survey shows all that groups of a prefix have, and nothing else."""

from server.bus.interface import Address, Holdings
from tests.bus.ground import Ground
from tests.bus.waiting import asked_until

TTL = 30.0


async def test_shows_leases_mailboxes_and_keys_of_every_group(ground: Ground) -> None:
    one, other = await ground.handle(), await ground.handle()
    lease = await one.acquire("call:1", TTL)
    assert lease is not None
    assert await lease.put("state", b"its state", TTL)
    phone = await one.open_mailbox(Address("call:1", "phone"), ttl=TTL, create=True)
    await other.open_mailbox(Address("call:1", "laptop"), ttl=TTL, create=True)
    await other.add_member("call:20", "people", "ann", TTL)
    await other.increment("call:20", "tries", TTL)
    await one.put("call:300", "with:colon", b"", TTL)
    await one.put("user:1", "state", b"another kind of group", TTL)

    whole = [
        Holdings("call:1", True, frozenset({"phone", "laptop"}), frozenset({"state"})),
        Holdings("call:20", False, frozenset(), frozenset({"people", "tries"})),
        Holdings("call:300", False, frozenset(), frozenset({"with:colon"})),
    ]
    assert await one.survey("call:") == whole
    assert await other.survey("call:3") == whole[2:]
    assert await other.survey("nothing:") == []

    await lease.release()
    await phone.close(keep=False)
    await other.delete("call:20", "people", "tries")
    left = [Holdings("call:1", False, frozenset({"laptop"}), frozenset({"state"})), whole[2]]
    assert await one.survey("call:") == left


async def test_shows_hundreds_of_groups(ground: Ground) -> None:
    bus = await ground.handle()
    for number in range(1500):
        await bus.put(f"call:{number}", "state", b"", TTL)
    found = await bus.survey("call:")
    assert {held.group for held in found} == {f"call:{number}" for number in range(1500)}
    assert len(found) == 1500


async def test_what_has_run_out_is_not_shown(ground: Ground) -> None:
    bus = await ground.handle()
    await bus.put("call:1", "state", b"", 0.05)
    mailbox = await bus.open_mailbox(Address("call:2", "phone"), ttl=0.05, create=True)
    await mailbox.close(keep=True)

    async def nothing() -> bool:
        return await bus.survey("call:") == []

    await asked_until(nothing)
