"""Where the configuration's values come from: defaults, then the file, then the environment."""

import os
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from server.config.settings import Section, Settings

FILE = Path("config.yml")
PREFIX = "ICHAT_"
FILE_VARIABLE = "ICHAT_CONFIG"
DEFAULT = "default"
_LEVELS = {"warning": "warn"}

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one key."""

    key: str
    source: str
    rule: str

    def __str__(self) -> str:
        return f"{self.key} ({self.source}): {self.rule}" if self.source else f"{self.key}: {self.rule}"


class InvalidConfiguration(Exception):
    """Everything that is wrong, at once."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Loaded:
    """The configuration, the source of each key that isn't a default, and what was passed over."""

    settings: Settings
    sources: dict[str, str]
    warnings: list[str] = field(default_factory=list)


def load(file: Path | None = None, environment: Mapping[str, str] | None = None) -> Loaded:
    """Read the configuration: `file`, or the one that `ICHAT_CONFIG` names, or `config.yml` if it exists.

    Raises:
        InvalidConfiguration
    """
    environment = os.environ if environment is None else environment
    named = file or (Path(environment[FILE_VARIABLE]) if environment.get(FILE_VARIABLE) else None)
    values, sources = _from_file(named or FILE, required=named is not None)
    variables = {variable_of(key): key for key in leaves(Settings)}
    warnings = []
    for name in sorted(name for name in environment if name.startswith(PREFIX) and name != FILE_VARIABLE):
        if name not in variables:
            warnings.append(f"{name} is no key of the configuration")
        elif environment[name] != "":
            key = variables[name]
            _put(values, key, _split(key, environment[name]))
            sources[".".join(key)] = name
    _select_backends(values, sources)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise InvalidConfiguration([_problem(details, sources) for details in error.errors()]) from error
    if problems := check(settings, sources):
        raise InvalidConfiguration(problems)
    return Loaded(settings, sources, warnings)


def leaves(section: type[BaseModel], above: Key = ()) -> Iterator[Key]:
    """The path of every key, as in the file."""
    for name, info in section.model_fields.items():
        key = (*above, info.alias or name)
        inner = _section(info.annotation)
        if inner is None:
            yield key
        else:
            yield from leaves(inner, key)


def variable_of(key: Key) -> str:
    """The environment variable of a key."""
    return PREFIX + "_".join(key).upper().replace("-", "_")


def check(settings: Settings, sources: Mapping[str, str]) -> list[Problem]:
    """What no single key can tell."""
    problems = []

    def add(key: str, rule: str) -> None:
        problems.append(Problem(key, sources.get(key, DEFAULT), rule))

    http, redis = settings.http, settings.redis
    if (http.tls_cert is None) != (http.tls_key is None):
        add("http.tls-cert", "needs http.tls-key beside it, and the other way round")
    for key, path in (("http.tls-cert", http.tls_cert), ("http.tls-key", http.tls_key)):
        if path is not None and not path.is_file():
            add(key, f"{path} is no file")
    if settings.web_root is not None and not (settings.web_root / "index.html").is_file():
        add("web-root", f"{settings.web_root} must be a directory with an index.html")
    if redis is not None:
        if not settings.jwt.secret.get_secret_value():
            add("jwt.secret", "required where several processes share one Redis: all must have the same")
        if redis.mode != "single" and not redis.nodes and not redis.url.get_secret_value():
            add("redis.nodes", f"required for mode {redis.mode}: host:port, separated by commas")
    return problems


def effective(loaded: Loaded) -> Iterator[tuple[str, str, str]]:
    """(key, value, source) of every key; secrets are masked."""
    for key in leaves(Settings):
        value: Any = loaded.settings
        for part in key:
            value = getattr(value, part.replace("-", "_"), None)
        name = ".".join(key)
        yield name, _shown(value), loaded.sources.get(name, DEFAULT)


def _shown(value: object) -> str:
    match value:
        case SecretStr():
            return "********" if value.get_secret_value() else ""
        case None:
            return ""
        case bool():
            return str(value).lower()
        case tuple():
            return ", ".join(str(item) for item in value)
        case _:
            return str(value)


def _section(annotation: Any) -> type[Section] | None:
    """The section behind an annotation, be it optional, or None."""
    options = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    return next((option for option in options if isinstance(option, type) and issubclass(option, Section)), None)


def _from_file(file: Path, *, required: bool) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except FileNotFoundError as error:
        if required:
            raise InvalidConfiguration([Problem(str(file), "", "there is no such file")]) from error
        return {}, {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidConfiguration([Problem(str(file), "", f"can't be read: {error}")]) from error
    if not isinstance(values, dict):
        raise InvalidConfiguration([Problem(str(file), "", "must hold keys and values")])
    level = values.get("log-level")
    if isinstance(level, str):
        values["log-level"] = _LEVELS.get(level.lower(), level.lower())
    sources: dict[str, str] = {}
    return _without_blanks(values, (), str(file), sources), sources


def _without_blanks(values: dict[Any, Any], above: Key, file: str, sources: dict[str, str]) -> dict[str, Any]:
    """Keys without a value are as if they weren't there; an empty section is one with defaults."""
    kept: dict[str, Any] = {}
    for name, value in values.items():
        key = (*above, str(name))
        sources[".".join(key)] = file
        if isinstance(value, dict):
            kept[str(name)] = _without_blanks(value, key, file, sources)
        elif value is not None:
            kept[str(name)] = value
        elif key == ("redis",):
            kept["redis"] = {}
    return kept


def _put(values: dict[str, Any], key: Key, value: object) -> None:
    *sections, name = key
    for section in sections:
        inner = values.get(section)
        if not isinstance(inner, dict):
            inner = values[section] = {}
        values = inner
    values[name] = value


def _split(key: Key, text: str) -> object:
    if key[-1] in {"trusted-proxies", "nodes"}:
        return [part.strip() for part in text.split(",") if part.strip()]
    if key == ("log-level",):
        return _LEVELS.get(text.lower(), text.lower())
    return text


def _select_backends(values: dict[str, Any], sources: Mapping[str, str]) -> None:
    """A MySQL host selects MySQL; a Redis host, or a `redis` section in the file, selects Redis."""
    mysql = values.get("mysql")
    if isinstance(mysql, dict) and not mysql.get("host"):
        del values["mysql"]
    redis = values.get("redis")
    if isinstance(redis, dict):
        in_file = any(not source.startswith(PREFIX) for key, source in sources.items() if key.split(".")[0] == "redis")
        if not in_file and not {"host", "url", "nodes"} & redis.keys():
            del values["redis"]
        elif redis.get("host") == "":
            del redis["host"]


def _problem(details: ErrorDetails, sources: Mapping[str, str]) -> Problem:
    key = ".".join(str(part) for part in details["loc"] if not isinstance(part, int))
    source = sources.get(key, "")
    if details["type"] == "extra_forbidden":
        known = sorted({name[len(details["loc"]) - 1] for name in leaves(Settings) if _beside(name, details["loc"])})
        return Problem(key, source, f"unknown key; there are: {', '.join(known)}")
    given = "" if "secret" in key or "password" in key or "url" in key else f" (is {details['input']!r})"
    return Problem(key, source, details["msg"][0].lower() + details["msg"][1:] + given)


def _beside(key: Key, location: tuple[int | str, ...]) -> bool:
    return len(key) >= len(location) and key[: len(location) - 1] == location[:-1]
