"""What no single key can tell: rules between keys, and files that must be there."""

import ssl
from collections.abc import Iterator
from pathlib import Path

from server.config.settings import Http, Settings

MIN_SECRET_BYTES = 32
"""Of an HS256 key: as long as its hash (RFC 7518, section 3.2)."""


def broken(settings: Settings) -> Iterator[tuple[str, str]]:
    """(key, what is wrong with it)."""
    yield from _tls(settings.http)
    if settings.web_root is not None and not (settings.web_root / "index.html").is_file():
        yield "web-root", f"{settings.web_root} must be a directory with an index.html"
    if settings.ice.turn and not settings.ice.turn_secret.get_secret_value():
        yield "ice.turn-secret", "must be set where ice.turn is"
    redis = settings.redis
    if redis is None:
        return
    if not settings.jwt.secret.get_secret_value():
        yield "jwt.secret", "must be set where several processes share one Redis: the same for all of them"
    if redis.mode != "single" and not redis.nodes and not redis.url.get_secret_value():
        yield "redis.nodes", f"must name at least one host:port where redis.mode is {redis.mode}"
    if redis.tls_ca is not None and not redis.tls_ca.is_file():
        yield "redis.tls-ca", f"{redis.tls_ca} is no file"


def doubtful(settings: Settings) -> Iterator[str]:
    """What can be used, but perhaps isn't meant."""
    secret = settings.jwt.secret.get_secret_value().encode()
    if secret and len(secret) < MIN_SECRET_BYTES:
        yield (
            f"jwt.secret has {len(secret)} bytes; whoever guesses it can be everybody: "
            f"use {MIN_SECRET_BYTES} random bytes or more (everybody then logs in again)"
        )


def _tls(http: Http) -> Iterator[tuple[str, str]]:
    cert, key = http.tls_cert, http.tls_key
    if cert is None and key is None:
        return
    if cert is None:
        yield "http.tls-cert", "must be set where http.tls-key is"
        return
    if key is None:
        yield "http.tls-key", "must be set where http.tls-cert is"
        return
    missing = [(name, file) for name, file in (("http.tls-cert", cert), ("http.tls-key", key)) if not file.is_file()]
    yield from ((name, f"{file} is no file") for name, file in missing)
    if not missing and (reason := _unusable(cert, key)):
        yield "http.tls-cert", f"{cert} and {key} can't be used together: {reason}"


def _unusable(cert: Path, key: Path) -> str:
    try:
        # a password, so that OpenSSL doesn't ask for one
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password="-")  # noqa: S106
    except (OSError, ValueError) as error:  # also ssl.SSLError
        return str(error)
    return ""
