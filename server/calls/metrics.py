"""What is counted of calls."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from server.calls.state import CallState
from server.model.enums import CallStatus

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class CallMetrics:
    """The collectors, made in `registry`. Times count from the creation of the call, in seconds."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.managed = Gauge(
            "ichat_calls_managed", "Calls that this process owns.", registry=registry, multiprocess_mode="livesum"
        )
        self.seats = Gauge(
            "ichat_call_sockets", "Open call sockets of this process.", registry=registry, multiprocess_mode="livesum"
        )
        self.signals = Counter("ichat_call_signals", "Signaling messages read from sockets.", registry=registry)
        self.takeovers = Counter("ichat_call_takeovers", "Calls taken over from another owner.", registry=registry)
        self._statuses = Counter("ichat_call_status", "Calls that came to a status.", ["status"], registry=registry)
        self._ends = Counter("ichat_call_ends", "Calls that ended, by reason.", ["reason"], registry=registry)
        self._until = Histogram(
            "ichat_call_setup_seconds",
            "From the creation of a call to a stage of it.",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )

    def changed(self, before: CallState, after: CallState, now: int) -> None:
        """`now` is in milliseconds since 1970."""
        if after.status is not before.status:
            self._statuses.labels(after.status.name.lower()).inc()
        match after.status:
            case CallStatus.READY if before.status is not CallStatus.READY:
                self._reached("ready", after, now)
            case CallStatus.ACTIVE if before.status is not CallStatus.ACTIVE:
                self._reached("both-online", after, now)
            case CallStatus.END if before.status is not CallStatus.END:
                self._ends.labels(after.reason.name.lower()).inc()
            case _:
                pass
        if _media(after) and not _media(before):
            self._reached("media", after, now)

    def rang(self, call: CallState, now: int) -> None:
        """The members were notified of a call that is ready."""
        self._reached("ring", call, now)

    def _reached(self, stage: str, call: CallState, now: int) -> None:
        self._until.labels(stage).observe((now - call.created) / 1000)


def _media(call: CallState) -> bool:
    return any(member.media for member in call.members)
