"""What a route is: everything that serving it and describing it needs, said once."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Generic, TypeVar

from aiohttp import web
from pydantic import BaseModel

from server.errors import ErrorCode, Language
from server.services.accounts import LoginSession, Visitor

In = TypeVar("In", bound=BaseModel)


class Access(Enum):
    OPEN = auto()
    """Without a login."""
    OPTIONAL = auto()
    """With or without. What never was a login is none; one that has ended is told, so that the person logs in again."""
    LOGIN = auto()


class Source(Enum):
    """Where a route's input comes from."""

    BODY = auto()
    QUERY = auto()
    FORM = auto()
    """Multipart, which the handler reads by itself."""


@dataclass(frozen=True, slots=True)
class Call(Generic[In]):
    """A request whose input was checked. `login` is None only where a route's access allows it."""

    input: In
    login: LoginSession | None
    language: Language
    request: web.Request
    visit: Callable[[web.Request], Visitor]

    @property
    def visitor(self) -> Visitor:
        """Where the request comes from."""
        return self.visit(self.request)

    @property
    def me(self) -> int:
        """The user who asks."""
        return self.session.user_id

    @property
    def session(self) -> LoginSession:
        if self.login is None:
            raise LookupError("the route is open to visitors without a login")
        return self.login


@dataclass(frozen=True, slots=True)
class Plain:
    """An answer without an envelope, which the handler makes itself: its media type, and what each HTTP status that it
    may have means. The failures among them have the envelope."""

    media_type: str
    statuses: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Route(Generic[In]):
    """`path` is without the prefix. `answer` is the type of the envelope's data, or Plain. `errors` are those beyond
    what every route may say."""

    method: str
    path: str
    handler: Callable[[Call[In]], Awaitable[Any]]
    summary: str
    takes: type[In]
    source: Source
    answer: Any
    errors: tuple[ErrorCode, ...] = ()
    access: Access = Access.LOGIN
    tag: str = ""
    at_root: bool = False
    """It isn't below the prefix."""
    head: bool = False
    """HEAD is served beside GET."""

    def full_path(self, prefix: str) -> str:
        return self.path if self.at_root else prefix + self.path


AnyRoute = Route[Any]
