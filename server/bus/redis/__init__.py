"""The bus on Redis: single, watched by sentinels, or a cluster.

- A mailbox is a stream with a hash beside it (its reader, last seq, note). One script posts: it adds the entry to every
  mailbox of the group and rings the doorbell, a pub/sub channel of the process that reads it. The entry travels with
  the bell, so a reader that has all before it needn't ask again; a gap in the seqs makes it read the stream.
- Nothing polls. A process has one heartbeat (`heart`), which also tells it of leases that ran out, timers that are
  due, and of a Redis that forgot everything; what its mailboxes and leases need to live on is renewed in batches.
- What waits while a batch is under way goes with the next (`lane`).

Keys of a group carry it as their hash tag, so each script stays within one slot of a cluster; on a single server one
script serves many groups. The scripts are in `lua/`.
"""

from server.bus.redis.bus import RedisBus

__all__ = ["RedisBus"]
