"""What the file and the environment give: the text of each value, and where it stands.

Nothing is converted here. YAML's own conversions would spoil values that are meant as text: an unquoted password
`0123` would become 83, `1_000` would become 1000 and `12:30` would become 750.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from server.config.keys import PREFIX, KeyPath, all_keys, all_sections, beside
from server.config.problems import Problem

FILE_VARIABLE = "ICHAT_CONFIG"
"""Names the file; the one variable that isn't a key."""
_KUBERNETES = re.compile(r"SERVICE_(HOST|PORT\w*)|PORT_\d+_(TCP|UDP|SCTP)\w*")


@dataclass(frozen=True, slots=True)
class Value:
    text: str | list[str]
    source: str


@dataclass(slots=True)
class Given:
    """Values by key; `sections` are those that the file has, be they empty."""

    values: dict[KeyPath, Value] = field(default_factory=dict)
    sections: set[KeyPath] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)


def from_file(file: Path, *, required: bool) -> Given:
    """The values in a YAML file; none of one that isn't there, unless it is `required`."""
    given = Given()
    try:
        root = yaml.compose(file.read_text(encoding="utf-8"), yaml.SafeLoader)
    except FileNotFoundError:
        if required:
            given.problems.append(Problem(str(file), "", "there is no such file"))
        return given
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        given.problems.append(Problem(str(file), "", f"can't be read: {error}"))
        return given
    if root is None:
        return given
    if isinstance(root, MappingNode):
        _read_section(given, root, (), str(file))
    elif not _is_blank(root):
        given.problems.append(Problem(str(file), _place(root, str(file)), "must hold keys and values"))
    return given


def from_environment(environment: Mapping[str, str]) -> Given:
    """The values in variables; an empty one is as if it weren't there."""
    given = Given()
    keys = {key.variable: key for key in all_keys().values()}
    for name, text in sorted(environment.items()):
        if not name.startswith(PREFIX) or name == FILE_VARIABLE or not text or _is_of_kubernetes(name, text):
            continue
        if (key := keys.get(name)) is not None:
            given.values[key.path] = Value(_listed(text) if key.is_list else text, name)
        else:
            rule = f"there is no such variable{_guess(name, keys)}"
            given.problems.append(Problem(name, "environment", rule))
    return given


def _is_of_kubernetes(name: str, text: str) -> bool:
    """Kubernetes gives such variables to every container beside a service that is called ichat."""
    if name == f"{PREFIX}PORT":
        return "://" in text
    return _KUBERNETES.fullmatch(name.removeprefix(PREFIX)) is not None


def _read_section(given: Given, node: MappingNode, above: KeyPath, file: str) -> None:
    seen = set()
    for name_node, value_node in node.value:
        path = (*above, str(name_node.value))
        name, place = ".".join(path), _place(name_node, file)
        if path in seen:
            given.problems.append(Problem(name, place, "stands there twice"))
            continue
        seen.add(path)
        if path in all_sections():
            _read_inner(given, value_node, path, file)
        elif (key := all_keys().get(path)) is None:
            there = beside(path)
            rule = f"there is no such key{_guess(path[-1], there)}; there are {', '.join(there)}"
            given.problems.append(Problem(name, place, rule))
        elif not _is_blank(value_node):
            text = _text(value_node, is_list=key.is_list)
            if text is None:
                given.problems.append(Problem(name, place, f"must be {key.allowed}"))
            else:
                given.values[path] = Value(text, place)


def _read_inner(given: Given, node: Node, path: KeyPath, file: str) -> None:
    if isinstance(node, MappingNode):
        given.sections.add(path)
        _read_section(given, node, path, file)
    elif _is_blank(node):
        given.sections.add(path)
    else:
        rule = f"must hold keys: {', '.join(beside((*path, '')))}"
        given.problems.append(Problem(".".join(path), _place(node, file), rule))


def _text(node: Node, *, is_list: bool) -> str | list[str] | None:
    """The text of a value, or None where it has the wrong shape."""
    if isinstance(node, ScalarNode):
        return _listed(node.value) if is_list else str(node.value)
    if is_list and isinstance(node, SequenceNode) and all(isinstance(item, ScalarNode) for item in node.value):
        return [str(item.value) for item in node.value]
    return None


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _is_blank(node: Node) -> bool:
    return isinstance(node, ScalarNode) and (node.tag == "tag:yaml.org,2002:null" or node.value == "")


def _place(node: Node, file: str) -> str:
    return f"{file}:{node.start_mark.line + 1}"


def _guess(name: str, there: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(there), 1)
    return f"; {close[0]} is meant?" if close else ""
