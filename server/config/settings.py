"""The sections of the configuration, each key with its default and its bounds.

A key in `config.yml` is the field's name with `-` for `_`; its environment variable is the path in capitals
with `_`, behind `ICHAT_`. Sizes are in bytes and times in seconds unless the name says otherwise.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

Seconds = Annotated[float, Field(gt=0, le=86_400 * 366)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Port = Annotated[int, Field(ge=0, le=65_535)]


def _kebab(name: str) -> str:
    return name.replace("_", "-")


class Section(BaseModel):
    """A part of the configuration: unknown keys are refused, nothing changes after the start."""

    model_config = ConfigDict(
        alias_generator=_kebab, populate_by_name=True, extra="forbid", frozen=True, coerce_numbers_to_str=True
    )


class Http(Section):
    host: str = "0.0.0.0"  # noqa: S104  a server is there to be reached
    port: Port = 8080
    tls_cert: Path | None = None
    tls_key: Path | None = None
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed."""
    body_limit: Count = 262_144
    """Of a JSON body."""
    drain: Seconds = 10.0
    """How long a stopping server lets requests finish, and over how long it tells its sockets to come back."""


class Mysql(Section):
    host: str
    port: Port = 3306
    user: str = "root"
    password: SecretStr = SecretStr("")
    dbname: str = "ichat"
    pool_size: Count = 10
    timeout: Seconds = 5.0
    """For a connection and for one statement."""


class Sqlite(Section):
    timeout: Seconds = 5.0


class Redis(Section):
    host: str = "127.0.0.1"
    port: Port = 6379
    username: str = ""
    password: SecretStr = SecretStr("")
    db: Annotated[int, Field(ge=0)] = 0
    tls: bool = False
    tls_ca: Path | None = None
    """Certificates that vouch for the server; default: those of the system."""
    url: SecretStr = SecretStr("")
    """`redis://`, `rediss://` or `unix://`, instead of the keys above."""
    mode: Literal["single", "sentinel", "cluster"] = "single"
    nodes: tuple[str, ...] = ()
    """`host:port` of the sentinels, or of some nodes of the cluster."""
    sentinel_service: str = "mymaster"
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")] = "ichat"
    """Begins every key and channel, so that deployments can share a Redis."""
    timeout: Seconds = 2.0
    """For one round trip."""


class Jwt(Section):
    secret: SecretStr = SecretStr("")
    issuer: str = "ichat"
    login_lifetime: Seconds = 24 * 3600.0
    call_lifetime: Seconds = 3 * 3600.0


class Password(Section):
    bcrypt_cost: Annotated[int, Field(ge=4, le=16)] = 12
    threads: Count = 2
    """How many hashes are computed at once."""


class RateLimit(Section):
    """At most `count` in any `seconds`."""

    count: Count
    seconds: Seconds


class Limits(Section):
    enabled: bool = True
    """False switches every rate limit off, for load tests."""
    login_account: RateLimit = RateLimit(count=20, seconds=60)
    """Attempts for one user name."""
    login_address: RateLimit = RateLimit(count=120, seconds=60)
    register_address: RateLimit = RateLimit(count=60, seconds=60)
    upload_account: RateLimit = RateLimit(count=120, seconds=60)
    upload_address: RateLimit = RateLimit(count=60, seconds=60)
    """Uploads without a login."""


class Chat(Section):
    text_limit: Count = 20_000
    """Characters of a message."""
    revoke_window: Seconds = 120.0
    request_lifetime: Seconds = 24 * 3600.0
    batch: Count = 100
    """Sends that share a transaction at most."""


class Sessions(Section):
    """The notification socket."""

    frame_limit: Count = 65_536
    first_frame_timeout: Seconds = 30.0
    lifetime: Seconds = 60.0
    """How long a session outlives its connection."""
    silence: Seconds = 90.0
    """A connection that sent nothing for so long, not even its heartbeat, is dead."""
    queue: Count = 10_000
    """Notifications that wait for one session."""
    slow_reader_timeout: Seconds = 15.0
    """A client that takes nothing for so long while something waits is disconnected."""
    frames_per_second: Count = 50
    """More from a client, over ten seconds on end, and it is disconnected."""
    per_user: Count = 50
    recheck: Seconds = 60.0
    """How often an open session is compared with the database."""


class Files(Section):
    upload_limit: Count = 10 * 1024 * 1024
    anonymous_limit: Count = 2 * 1024 * 1024
    pixels: Count = 50_000_000
    """Width times height of an image."""
    orphan_lifetime: Seconds = 3600.0
    sweep_interval: Seconds = 300.0


class Calls(Section):
    ring: Seconds = 60.0
    """Unanswered for so long, a user has rejected; not active for so long, a call ends."""
    heartbeat_timeout: Seconds = 30.0
    lease: Seconds = 3.0
    """How long a manager's ownership outlives its process."""
    frame_limit: Count = 262_144
    members: Count = 100
    frames_per_second: Count = 500
    queue: Count = 10_000


class Ice(Section):
    """Where browsers find each other from behind their routers: given to them as they stand, for this server needs
    neither."""

    stun: tuple[Annotated[str, Field(pattern=r"^stuns?:\S+$")], ...] = ()
    """`stun:host:port`, as browsers take them (RFC 7064)."""
    turn: tuple[Annotated[str, Field(pattern=r"^turns?:\S+$")], ...] = ()
    """`turn:host:port?transport=udp` (RFC 7065)."""
    turn_secret: SecretStr = SecretStr("")
    """coturn's `static-auth-secret`."""
    turn_lifetime: Seconds = 12 * 3600.0
    """Of a user's credentials: longer than a call lasts."""

    @model_validator(mode="after")
    def _needs_secret(self) -> Self:
        if self.turn and not self.turn_secret.get_secret_value():
            raise ValueError("turn-secret is needed with turn")
        return self


class Log(Section):
    format: Literal["auto", "text", "json"] = "auto"
    """`auto`: text on a terminal, else JSON."""


class Settings(Section):
    """The whole configuration."""

    dev: bool = False
    api_prefix: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._-]+)*$")] = "/api"
    data_dir: Path = Path("data")
    upload_dir: Path | None = None
    """Default: `uploads` in the data directory."""
    web_root: Path | None = None
    """A built single-page frontend to serve on the same port."""
    log_level: Literal["debug", "info", "warn", "error"] = "info"
    http: Http = Http()
    mysql: Mysql | None = None
    """Present: MySQL or MariaDB. Absent: SQLite in the data directory."""
    sqlite: Sqlite = Sqlite()
    redis: Redis | None = None
    """Present: Redis. Absent: in the memory of this one process."""
    jwt: Jwt = Jwt()
    password: Password = Password()
    limits: Limits = Limits()
    chat: Chat = Chat()
    sessions: Sessions = Sessions()
    files: Files = Files()
    calls: Calls = Calls()
    ice: Ice = Ice()
    log: Log = Log()

    @property
    def uploads(self) -> Path:
        return self.upload_dir or self.data_dir / "uploads"
