"""What there is in Redis, group by group."""

from collections import defaultdict

from server.bus.interface import Holdings
from server.bus.redis.link import Link
from server.bus.redis.names import Names


async def survey(link: Link, names: Names, prefix: str) -> list[Holdings]:
    """See `interface.Bus.survey`. Raises BusUnavailable."""
    leased: set[str] = set()
    mailboxes: dict[str, set[str]] = defaultdict(set)
    keys: dict[str, set[str]] = defaultdict(set)
    for name in await link.scan(names.pattern(prefix)):
        group, rest = names.parts(name)
        kind, _, own = rest.partition(":")
        match kind:
            case "lease":
                leased.add(group)
            case "box":
                mailboxes[group].add(own)
            case "key":
                keys[group].add(own)
            case _:
                pass  # what belongs to a mailbox
    return [
        Holdings(group, group in leased, frozenset(mailboxes[group]), frozenset(keys[group]))
        for group in sorted({*leased, *mailboxes, *keys})
    ]
