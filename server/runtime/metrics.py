"""What is counted and timed, for Prometheus. One object, handed to whoever has something to report."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from server import __version__

_FAST = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Times are in seconds."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.requests = Counter("ichat_requests", "HTTP requests by route and code", ["route", "code"], registry=r)
        self.request_seconds = Histogram(
            "ichat_request_seconds", "Time to answer an HTTP request", ["route"], buckets=_FAST, registry=r
        )
        self.sockets = Gauge("ichat_sockets", "Open sockets", ["kind"], registry=r, multiprocess_mode="livesum")
        self.socket_closes = Counter("ichat_socket_closes", "Sockets closed, by reason", ["kind", "reason"], registry=r)
        self.notifications = Counter("ichat_notifications_sent", "Notifications sent to sockets", registry=r)
        self.notification_seconds = Histogram(
            "ichat_notification_seconds", "From the commit to the socket", buckets=_FAST, registry=r
        )
        self.notifications_filled = Counter(
            "ichat_notifications_filled", "Notifications that came from the database, not the bus", registry=r
        )
        self.posts_deferred = Counter(
            "ichat_posts_deferred", "Notifications that waited for a bus in trouble", registry=r
        )
        self.posts_dropped = Counter(
            "ichat_posts_dropped", "Notifications left to the sessions' comparison with the database", registry=r
        )
        self.bus_seconds = Histogram(
            "ichat_bus_seconds", "Time of a bus operation", ["operation"], buckets=_FAST, registry=r
        )
        self.database_seconds = Histogram(
            "ichat_database_seconds", "Time of a database operation", ["operation"], buckets=_FAST, registry=r
        )
        self.logins = Counter("ichat_logins", "Logins by outcome", ["outcome"], registry=r)
        build = Gauge("ichat_build_info", "Always 1", ["version"], registry=r, multiprocess_mode="max")
        build.labels(__version__).set(1)
