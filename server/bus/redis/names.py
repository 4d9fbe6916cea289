"""Names of keys and channels. What belongs together has one hash tag, the part in braces."""


class Names:
    """For deployments that share a Redis, `prefix` and the number of the database tell them apart: channels, unlike
    keys, are common to all databases."""

    def __init__(self, prefix: str, db: int) -> None:
        self._prefix = prefix
        channel = f"{prefix}:{db}" if db else prefix
        self.all_channel = f"{channel}:all"
        self.process_channels = f"{channel}:process:"
        shared = f"{prefix}:{{bus}}:"
        self.epoch = f"{shared}epoch"
        self.processes = f"{shared}processes"
        self.leases = f"{shared}leases"
        self.lease_fences = f"{shared}lease-fences"
        self.timers = f"{shared}timers"
        self.timer_data = f"{shared}timer-data"

    def base(self, group: str) -> str:
        """What all keys of a group begin with."""
        return f"{self._prefix}:{{{group}}}:"

    def lease(self, group: str) -> str:
        return f"{self.base(group)}lease"

    def key(self, group: str, key: str) -> str:
        return f"{self.base(group)}key:{key}"

    def pattern(self, prefix: str) -> str:
        """Matches all keys of the groups that start with `prefix` (a glob, as `SCAN` takes it)."""
        return f"{self._prefix}:{{{prefix}*"

    def parts(self, key: str) -> tuple[str, str]:
        """The group of a key, and the rest."""
        group, _, rest = key.removeprefix(f"{self._prefix}:{{").partition("}:")
        return group, rest
