"""What the compose files say, for tests that carry it out without a container engine."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from tests.repository.tree import text

FILES = ("docker/compose.yml", "docker/compose.dev.yml")
INTERPOLATED = re.compile(r"(?<!\$)\$\{(\w+)(?::?[-?+]([^}]*))?\}")
"""A variable, and its default or what is said where it isn't set."""


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(text(name))
    return content


def service(name: str) -> dict[str, Any]:
    """One service of the deployment."""
    found: dict[str, Any] = read("docker/compose.yml")["services"][name]
    return found


def filled(value: str, given: Mapping[str, str]) -> str:
    """A value as Compose takes it, with variables or their defaults."""
    return INTERPOLATED.sub(lambda match: given.get(match[1], match[2] or ""), value).replace("$$", "$")
