"""What the image's Dockerfile says, for tests that carry it out without a container engine."""

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from tests.repository.tree import text

NAME = "docker/Dockerfile"


@dataclass
class Stage:
    """One `FROM` and what follows it: (instruction, the rest), in order."""

    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        return [rest for name, rest in self.instructions if name == instruction]

    def command(self, instruction: str) -> list[str]:
        """The words of its one CMD, ENTRYPOINT or HEALTHCHECK, which are in the exec form."""
        (rest,) = self.all(instruction)
        words: list[str] = json.loads(rest[rest.index("[") :])
        return words

    @property
    def environment(self) -> dict[str, str]:
        pairs = (word.partition("=") for rest in self.all("ENV") for word in shlex.split(rest))
        return {name: value for name, _, value in pairs}

    @property
    def copied(self) -> list[tuple[str, str]]:
        """(from the build context, to) of each COPY that isn't from another stage."""
        lines = [rest.split() for rest in self.all("COPY") if not rest.startswith("--from")]
        return [(source, words[-1]) for words in lines for source in words[:-1]]


def stages() -> list[Stage]:
    lines = re.sub(r"^#.*\n", "", text(NAME), flags=re.M).replace("\\\n", " ").splitlines()
    found: list[Stage] = []
    for line in filter(None, lines):
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            found.append(Stage())
        found[-1].instructions.append((instruction, rest.strip()))
    return found


def kept_out(source: str) -> bool:
    """Whether .dockerignore, which lets in only what it names, keeps it from the build."""
    allowed = [line[1:] for line in text(f"{NAME}.dockerignore").splitlines() if line.startswith("!")]
    return not any(Path(source.rstrip("/")).is_relative_to(name) for name in allowed)
