"""Every key of the configuration, read from the sections: its path, its variable, what it takes."""

import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from annotated_types import Ge, Le
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from server.config.settings import Allowed, Section, Settings

PREFIX = "ICHAT_"

KeyPath = tuple[str, ...]
"""As in the file: ("http", "tls-cert")."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key that has a value (not a section)."""

    path: KeyPath
    allowed: str
    """What it takes, in words."""
    meaning: str
    default: object
    is_list: bool
    is_secret: bool

    @property
    def name(self) -> str:
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        return PREFIX + "_".join(self.path).upper().replace("-", "_")


@cache
def all_keys() -> dict[KeyPath, Key]:
    """In the order of the sections."""
    return {key.path: key for key in _keys(Settings, (), Settings())}


@cache
def all_sections() -> dict[KeyPath, type[BaseModel]]:
    """The sections below the whole."""
    return dict(_sections(Settings, ()))


def beside(path: KeyPath) -> list[str]:
    """The names that there are in the section that `path` is in."""
    places = (*all_keys(), *all_sections())
    return sorted({place[len(path) - 1] for place in places if len(place) == len(path) and place[:-1] == path[:-1]})


def _fields(section: type[BaseModel]) -> Iterator[tuple[str, str, FieldInfo]]:
    for attribute, info in section.model_fields.items():
        yield attribute, info.alias or attribute, info


def _sections(section: type[BaseModel], above: KeyPath) -> Iterator[tuple[KeyPath, type[BaseModel]]]:
    for _, name, info in _fields(section):
        if (inner := _section(info)) is not None:
            yield (*above, name), inner
            yield from _sections(inner, (*above, name))


def _keys(section: type[BaseModel], above: KeyPath, defaults: BaseModel | None) -> Iterator[Key]:
    for attribute, name, info in _fields(section):
        path = (*above, name)
        default = getattr(defaults, attribute) if defaults is not None else info.get_default()
        if (inner := _section(info)) is not None:
            yield from _keys(inner, path, default)
            continue
        types_of = _options(info.annotation)
        yield Key(
            path,
            _allowed(info.annotation, info.metadata),
            info.description or "",
            default,
            is_list=any(typing.get_origin(one) is tuple for one in types_of),
            is_secret=SecretStr in types_of,
        )


def _options(annotation: Any) -> tuple[Any, ...]:
    """What an optional annotation offers."""
    return typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)


def _section(info: FieldInfo) -> type[BaseModel] | None:
    return next((one for one in _options(info.annotation) if isinstance(one, type) and issubclass(one, Section)), None)


def _allowed(annotation: Any, metadata: typing.Sequence[Any]) -> str:
    if told := next((mark.text for mark in metadata if isinstance(mark, Allowed)), None):
        return str(told)
    if typing.get_origin(annotation) is Literal:
        *some, last = typing.get_args(annotation)
        return f"{', '.join(some)} or {last}"
    if typing.get_origin(annotation) is tuple:
        item, *marks = typing.get_args(typing.get_args(annotation)[0])
        return f"a list (in the environment separated by commas), each {_allowed(item, marks)}"
    (kind,) = (one for one in _options(annotation) if one is not types.NoneType)
    if kind is int:
        return f"a whole number {_bounds(metadata)}"
    return {bool: "true or false", Path: "a path", str: "text", SecretStr: "text"}[kind]


def _bounds(metadata: typing.Sequence[Any]) -> str:
    least = next(int(str(mark.ge)) for mark in metadata if isinstance(mark, Ge))
    most = next(int(str(mark.le)) for mark in metadata if isinstance(mark, Le))
    return f"from {least} to {most}"
