"""A client's call socket, as a seat sees it."""

from typing import Protocol


class OutletClosed(Exception):
    """The socket is gone."""


class SeatOverloaded(Exception):
    """The client says more than can be passed on: its socket must be closed."""


class Outlet(Protocol):
    """Each method raises `OutletClosed` once the socket is gone."""

    async def send(self, text: str) -> None: ...

    async def ping(self, payload: bytes) -> None: ...
