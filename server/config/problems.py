"""What is wrong with a configuration."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one key, and what is allowed."""

    key: str
    source: str
    """Where the value comes from: a line of the file, or a variable; empty if from nowhere."""
    rule: str

    def __str__(self) -> str:
        return f"{self.key} ({self.source}): {self.rule}" if self.source else f"{self.key}: {self.rule}"


class InvalidConfiguration(Exception):
    """Everything that is wrong, at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = list(problems)
