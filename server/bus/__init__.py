"""What the processes of one service share beside the database: mailboxes, timers, leases, keys.

`interface` has the guarantees; `memory` and `redis` keep them, and one contract suite runs over both.
"""
