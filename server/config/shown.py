"""The configuration as people see it: effective values with their sources, secrets masked."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from pydantic import SecretStr

from server.config.keys import Key, KeyPath, all_keys
from server.config.settings import Settings
from server.config.sources import Loaded

DEFAULT = "default"
MASK = "********"

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.I)


class Shown(NamedTuple):
    name: str
    value: str
    source: str


def effective(loaded: Loaded) -> Iterator[Shown]:
    """Every key of every section that is used."""
    for path, key in all_keys().items():
        value = _value(loaded.settings, path)
        if value is not _UNUSED:
            yield Shown(key.name, as_text(key, value), loaded.sources.get(path, DEFAULT))


def as_text(key: Key, value: object) -> str:
    """A value as one would write it in the environment; nothing of a secret but whether there is one."""
    match value:
        case SecretStr():
            return _masked(value.get_secret_value())
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}" if value < 1e6 else str(round(value))
        case tuple() | list():
            return ",".join(str(item) for item in value)
        case _:
            return str(value)


_UNUSED = object()


def _value(settings: Settings, path: KeyPath) -> object:
    value: object = settings
    for part in path:
        if value is None:
            return _UNUSED
        value = getattr(value, part.replace("-", "_"))
    return value


def _masked(secret: str) -> str:
    """Of a URL, scheme, user and place are shown."""
    if (scheme := _SCHEME.match(secret)) is None:
        return MASK if secret else ""
    login, at, place = secret[scheme.end() :].rpartition("@")
    user = f"{login.partition(':')[0]}:{MASK}" if at else ""
    return f"{scheme[0]}{user}{at}{re.split('[?#]', place)[0]}"
