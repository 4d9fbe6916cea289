"""The sections of the configuration, each key with its default, its bounds and what it means.

A key in `config.yml` is the field's name with `-` for `_`; its environment variable is the path in capitals
with `_`, behind `ICHAT_`. Sizes are in bytes and times in seconds unless the name says otherwise. The texts below
the keys are those of the table in the README.
"""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr


@dataclass(frozen=True, slots=True)
class Allowed:
    """Beside a type: what it takes, in words, where the type alone doesn't tell."""

    text: str


def _network(value: str) -> str:
    ipaddress.ip_network(value, strict=False)
    return value


def _host_and_port(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= 65_535:
        raise ValueError(value)
    return value


def _redis_url(value: SecretStr) -> SecretStr:
    if (text := value.get_secret_value()) and urlsplit(text).scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("scheme")
    return value


def _level(value: object) -> object:
    """Written in any case, and `warning` for `warn`."""
    if isinstance(value, str):
        value = value.lower()
    return "warn" if value == "warning" else value


def _slashed(value: object) -> object:
    """With a slash in front and none behind; nothing at all for the root."""
    if isinstance(value, str) and (bare := value.strip("/")):
        return f"/{bare}"
    return "" if isinstance(value, str) else value


Seconds = Annotated[float, Field(gt=0, le=86_400 * 366), Allowed("seconds, more than 0 and at most 31622400")]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Port = Annotated[int, Field(ge=0, le=65_535)]
ServicePort = Annotated[int, Field(ge=1, le=65_535)]
Host = Annotated[str, Field(min_length=1), Allowed("a host name or an IP address")]
Network = Annotated[str, AfterValidator(_network), Allowed("an IP address or a network such as 10.0.0.0/8")]
HostAndPort = Annotated[str, AfterValidator(_host_and_port), Allowed("host:port")]
StunUrl = Annotated[str, Field(pattern=r"^stuns?:\S+$"), Allowed("stun:host:port, as browsers take it (RFC 7064)")]
TurnUrl = Annotated[str, Field(pattern=r"^turns?:\S+$"), Allowed("turn:host:port?transport=udp (RFC 7065)")]
LogLevel = Annotated[Literal["debug", "info", "warn", "error"], BeforeValidator(_level)]
UrlPath = Annotated[
    str,
    BeforeValidator(_slashed),
    Field(pattern=r"^(/[A-Za-z0-9._-]+)*$"),
    Allowed("a path of letters, digits, '.', '_' and '-', or / for none"),
]


def _kebab(name: str) -> str:
    return name.replace("_", "-")


class Section(BaseModel):
    """A part of the configuration: unknown keys are refused, nothing changes after the start."""

    model_config = ConfigDict(
        alias_generator=_kebab,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )


class Http(Section):
    """Listening."""

    host: Host = "0.0.0.0"  # noqa: S104  a server is there to be reached
    """The address to listen on; `::` is every address, of IPv4 as well."""
    port: Port = 8080
    """0: any free one; the start prints which."""
    tls_cert: Path | None = None
    """Certificate (with its chain) in PEM: serves HTTPS. Read again at SIGHUP."""
    tls_key: Path | None = None
    """The certificate's key in PEM, without a passphrase."""
    trusted_proxies: tuple[Network, ...] = ()
    """Whose `X-Forwarded-For` is believed: the web server in front."""
    body_limit: Count = 262_144
    """Of a JSON body."""
    idle: Seconds = 75.0
    """How long a connection may stay open without a request, and how long the headers of one may take."""
    silence: Seconds = 30.0
    """How long a client may send nothing in the middle of a body."""
    drain: Seconds = 10.0
    """How long a stopping server lets requests finish, and over how long at most it tells its sockets to come back."""


class Mysql(Section):
    """MySQL or MariaDB, where `mysql.host` is set."""

    host: Host
    """Selects MySQL; without it the database is SQLite in the data directory."""
    port: ServicePort = 3306
    user: str = "root"
    password: SecretStr = SecretStr("")
    dbname: str = "ichat"
    """The name of the database, which must exist."""
    pool_size: Annotated[int, Field(ge=1, le=1000)] = 10
    """Connections of a process for reading; half as many more are for writing."""
    timeout: Seconds = 5.0
    """For a connection and for one statement."""


class Sqlite(Section):
    """The embedded database."""

    timeout: Seconds = 5.0
    """For one statement."""


class Redis(Section):
    """Redis, where `redis.host`, `redis.url` or `redis.nodes` is set or the file has a `redis` section."""

    host: Host = "127.0.0.1"
    """Selects Redis; without it the bus is in the memory of the one process."""
    port: ServicePort = 6379
    username: str = ""
    password: SecretStr = SecretStr("")
    db: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """The number of the database."""
    tls: bool = False
    tls_ca: Path | None = None
    """Certificates that vouch for the server; default: those of the system."""
    url: Annotated[SecretStr, AfterValidator(_redis_url), Allowed("a redis://, rediss:// or unix:// address")] = (
        SecretStr("")
    )
    """Instead of the keys above."""
    mode: Literal["single", "sentinel", "cluster"] = "single"
    nodes: tuple[HostAndPort, ...] = ()
    """The sentinels, or some nodes of the cluster."""
    sentinel_service: str = "mymaster"
    """What the sentinels call the master."""
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$"), Allowed("1 to 32 letters, digits, '_' and '-'")] = (
        "ichat"
    )
    """Begins every key and channel, so that deployments can share a Redis."""
    timeout: Seconds = 2.0
    """For one round trip."""


class Jwt(Section):
    """Tokens."""

    secret: SecretStr = SecretStr("")
    """Signs the tokens; 32 bytes or more. Without it (and without Redis) one is made and kept in the data directory."""
    issuer: str = "ichat"
    """The `iss` of the tokens."""
    login_lifetime: Seconds = 24 * 3600.0
    call_lifetime: Seconds = 3 * 3600.0


class Password(Section):
    """Hashing passwords."""

    bcrypt_cost: Annotated[int, Field(ge=4, le=16)] = 12
    """Each step up doubles the time of a hash; older hashes are renewed at the next login."""
    threads: Annotated[int, Field(ge=1, le=64)] = 2
    """How many hashes are computed at once."""
    queue: Count = 1000
    """How many may wait for that; more are told to come later."""


class RateLimit(Section):
    """At most `count` in each span of `seconds`."""

    count: Count
    seconds: Seconds


class Limits(Section):
    """Rate limits: at most `count` in `seconds`."""

    enabled: bool = True
    """False switches every rate limit off, for load tests."""
    login_account: RateLimit = RateLimit(count=20, seconds=60)
    """Attempts for one user name."""
    login_address: RateLimit = RateLimit(count=120, seconds=60)
    """Attempts from one address."""
    register_address: RateLimit = RateLimit(count=60, seconds=60)
    """New accounts from one address."""
    upload_account: RateLimit = RateLimit(count=120, seconds=60)
    """Uploads of one user."""
    upload_address: RateLimit = RateLimit(count=60, seconds=60)
    """Uploads without a login from one address."""


class Chat(Section):
    """Messages."""

    text_limit: Count = 20_000
    """Characters of a message."""
    revoke_window: Seconds = 120.0
    """How long a message can be revoked."""
    request_lifetime: Seconds = 24 * 3600.0
    """How long a contact request can be accepted."""
    batch: Count = 100
    """Sends that share a transaction at most."""


class Sessions(Section):
    """The notification socket."""

    frame_limit: Count = 65_536
    """Of a frame from a client."""
    first_frame_timeout: Seconds = 30.0
    """For each of the first two frames."""
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
    per_user: Count = 1000
    """Sessions of one user, so that no login can fill the memory; one more ends the oldest."""
    recheck: Seconds = 60.0
    """How often an open session is compared with the database."""


class Files(Section):
    """Uploads."""

    upload_limit: Count = 10 * 1024 * 1024
    anonymous_limit: Count = 2 * 1024 * 1024
    """Without a login, images only."""
    pixels: Count = 50_000_000
    """Width times height of an image."""
    threads: Annotated[int, Field(ge=1, le=64)] = 2
    """How many images are decoded at once, to see whether they are whole."""
    orphan_lifetime: Seconds = 3600.0
    """A file that nothing refers to for so long is removed."""
    sweep_interval: Seconds = 300.0
    """How often such files are looked for."""


class Calls(Section):
    """Calls and the call socket."""

    ring: Seconds = 60.0
    """Unanswered for so long, a user has rejected; not active for so long, a call ends."""
    heartbeat_timeout: Seconds = 30.0
    """A user whose socket said nothing for so long has left."""
    lease: Seconds = 3.0
    """How long a manager's ownership outlives its process."""
    answer: Seconds = 10.0
    """How long a join or a hang-up waits for the call's manager, also while another process takes the call over."""
    frame_limit: Count = 262_144
    """Of a frame from a client."""
    members: Count = 101
    """Users of one call: by default a whole group."""
    frames_per_second: Count = 500
    """More from a client, over ten seconds on end, and it is disconnected."""
    characters_per_second: Count = 10_000_000
    """The same for what the frames hold: it waits in memory for who is slow to read it."""
    queue: Count = 10_000
    """Messages that wait for one socket."""


class Ice(Section):
    """Where browsers find each other from behind their routers: told to them as it stands, for this server needs
    neither."""

    stun: tuple[StunUrl, ...] = ()
    """STUN servers."""
    turn: tuple[TurnUrl, ...] = ()
    """TURN servers."""
    turn_secret: SecretStr = SecretStr("")
    """coturn's `static-auth-secret`."""
    turn_lifetime: Seconds = 12 * 3600.0
    """Of a user's credentials: longer than a call lasts."""


class Log(Section):
    """Logs, on standard error."""

    format: Literal["auto", "text", "json"] = "auto"
    """`auto`: text on a terminal, else JSON."""


class Monitoring(Section):
    """`/metrics`."""

    metrics: bool = True
    """False: there is no `/metrics`."""
    token: SecretStr = SecretStr("")
    """Set: `/metrics` asks for `Authorization: Bearer <token>`. Else whoever reaches it may read it."""


class Settings(Section):
    """The whole configuration."""

    dev: bool = False
    """Logs as text wherever they go, for a developer."""
    api_prefix: UrlPath = "/api"
    """In front of every path of the interface."""
    data_dir: Path = Path("data")
    """The embedded database, the uploads and the secret that was made; relative to the working directory."""
    upload_dir: Path | None = None
    """Where uploaded files lie; by default `uploads` in the data directory."""
    web_root: Path | None = None
    """A built single-page frontend to serve on the same port."""
    log_level: LogLevel = "info"
    http: Http = Http()
    mysql: Mysql | None = None
    sqlite: Sqlite = Sqlite()
    redis: Redis | None = None
    jwt: Jwt = Jwt()
    password: Password = Password()
    limits: Limits = Limits()
    chat: Chat = Chat()
    sessions: Sessions = Sessions()
    files: Files = Files()
    calls: Calls = Calls()
    ice: Ice = Ice()
    log: Log = Log()
    monitoring: Monitoring = Monitoring()

    @property
    def uploads(self) -> Path:
        return self.upload_dir or self.data_dir / "uploads"
