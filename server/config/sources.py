"""The configuration as a whole: defaults, then the file, then the environment; checked before anything starts."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticUndefined

from server.config import rules
from server.config.given import FILE_VARIABLE, Given, Value, from_environment, from_file
from server.config.keys import KeyPath, all_keys
from server.config.problems import InvalidConfiguration, Problem
from server.config.settings import Settings

FILE = Path("config.yml")

_SELECTING = {"mysql": ("host",), "redis": ("host", "url", "nodes")}
"""The keys of which one selects the section's backend."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The configuration, the source of each key that isn't a default, and what may not be meant."""

    settings: Settings
    sources: dict[KeyPath, str]
    warnings: list[str] = field(default_factory=list)


def load(file: Path | None = None, environment: Mapping[str, str] | None = None) -> Loaded:
    """Read the configuration: `file`, or the one that `ICHAT_CONFIG` names, or `config.yml` if it is there.

    Raises:
        InvalidConfiguration
    """
    environment = os.environ if environment is None else environment
    if file is None and (named := environment.get(FILE_VARIABLE)):
        file = Path(named)
    in_file = from_file(file or FILE, required=file is not None)
    in_environment = from_environment(environment)
    values = in_file.values | in_environment.values
    sources = {path: value.source for path, value in values.items()}
    selected = _selected(in_file, values)
    problems = in_file.problems + in_environment.problems

    settings, refused = _validated(values, selected)
    problems += [_refusal(path, values.get(path)) for path in refused]
    for name, rule in rules.broken(settings):
        path = tuple(name.split("."))
        if path not in refused:
            problems.append(Problem(name, sources.get(path, ""), rule))
    if problems:
        raise InvalidConfiguration(problems)
    return Loaded(settings, sources, [*_unused(sources, selected), *rules.doubtful(settings)])


def _selected(in_file: Given, values: Mapping[KeyPath, Value]) -> set[str]:
    """A MySQL host selects MySQL; a Redis host, or a `redis` section in the file, selects Redis."""
    chosen = {backend for backend, keys in _SELECTING.items() if any((backend, key) in values for key in keys)}
    return chosen | ({"redis"} if ("redis",) in in_file.sections else set())


def _validated(values: Mapping[KeyPath, Value], selected: set[str]) -> tuple[Settings, list[KeyPath]]:
    """The settings, with defaults in the place of the values that were refused, and the keys of these."""
    try:
        return Settings.model_validate(_nested(values, selected)), []
    except ValidationError as error:
        # an item of a list is told as ("redis", "nodes", 0)
        places = [tuple(part for part in details["loc"] if isinstance(part, str)) for details in error.errors()]
    refused = [path for path in all_keys() if path in places]
    rest = {path: value for path, value in values.items() if path not in refused}
    stand_in = {path: Value("localhost", "") for path in refused if path == ("mysql", "host")}
    return Settings.model_validate(_nested(rest | stand_in, selected)), refused


def _nested(values: Mapping[KeyPath, Value], selected: set[str]) -> dict[str, Any]:
    """A value for every key of every section that is used."""
    nested: dict[str, Any] = {}
    for path, key in all_keys().items():
        if path[0] in _SELECTING and path[0] not in selected:
            continue
        value = values[path].text if path in values else key.default
        if value is not PydanticUndefined:
            *sections, name = path
            inner = nested
            for section in sections:
                inner = inner.setdefault(section, {})
            inner[name] = value
    return nested


def _refusal(path: KeyPath, value: Value | None) -> Problem:
    key = all_keys()[path]
    if value is None:
        return Problem(key.name, "", f"must be {key.allowed}")
    text = value.text if isinstance(value.text, str) else ",".join(value.text)
    given = "" if key.is_secret else f"is {text!r}, "
    return Problem(key.name, value.source, f"{given}must be {key.allowed}")


def _unused(sources: Mapping[KeyPath, str], selected: set[str]) -> list[str]:
    """Values of a backend that nothing selects: a host was probably forgotten."""
    idle = {path[0]: source for path, source in sources.items() if path[0] in _SELECTING and path[0] not in selected}
    return [f"{source} has no effect without {backend}.host" for backend, source in idle.items()]
