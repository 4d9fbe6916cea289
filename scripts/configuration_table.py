"""Writes the README's tables of configuration keys anew from the sections: `python -m scripts.configuration_table`."""

from itertools import groupby
from pathlib import Path

from pydantic_core import PydanticUndefined

from server.config.keys import Key, KeyPath, all_keys, all_sections
from server.config.settings import Settings
from server.config.shown import as_text

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN = "<!-- configuration keys: written by `make docs` -->"
END = "<!-- end of the configuration keys -->"

_HEAD = "| key | default | takes | meaning |\n| --- | --- | --- | --- |"
_SHORTER = (
    ("seconds, more than 0 and at most 31622400", "seconds"),
    ("a list (in the environment separated by commas), each", "list:"),
    ("a whole number from 1 to 1000000000", "1 or more"),
    ("a whole number from ", ""),
)


def tables() -> str:
    """One table for the keys outside of sections, and one for each section, in Markdown."""
    parts = []
    for name, keys in groupby(all_keys().values(), lambda key: key.path[0] if len(key.path) > 1 else ""):
        section = all_sections()[(name,)] if name else Settings
        rows = [_HEAD, *(_row(path, list(alike)) for path, alike in groupby(keys, _shown_path))]
        parts.append(f"**{name or 'At the top'}**: {_in_one_line(section.__doc__ or '')}\n\n" + "\n".join(rows))
    return "\n\n".join(parts)


def with_tables(text: str) -> str:
    """The README's text with its tables renewed. Raises ValueError where it has no place for them."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no place for the tables: {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}"


def _shown_path(key: Key) -> KeyPath:
    """A section inside a section (a rate limit) is one row."""
    return key.path[:2]


def _row(path: KeyPath, keys: list[Key]) -> str:
    meaning = keys[0].meaning if len(keys) == 1 else _meaning_of_section(path)
    names = f"`{'.'.join(path)}`" if len(keys) == 1 else ", ".join(f"`{key.name}`" for key in keys)
    defaults = ", ".join(f"`{default}`" for key in keys if (default := _default(key)))
    takes = ", ".join(_takes(key) for key in keys)
    return "| " + " | ".join(_cell(text) for text in (names, defaults, takes, meaning)) + " |"


def _meaning_of_section(path: KeyPath) -> str:
    *above, name = path
    fields = all_sections()[tuple(above)].model_fields.values()
    return next(field.description or "" for field in fields if field.alias == name)


def _default(key: Key) -> str:
    return "" if key.default is PydanticUndefined else as_text(key, key.default)


def _takes(key: Key) -> str:
    text = key.allowed
    for long, short in _SHORTER:
        text = text.replace(long, short)
    return text


def _cell(text: str) -> str:
    return _in_one_line(text).replace("|", "\\|")


def _in_one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")
