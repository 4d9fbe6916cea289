"""WebSocket bytes made by hand (RFC 6455), for clients that break the rules and for cheap load."""

import struct
from enum import IntEnum


class Opcode(IntEnum):
    """RFC 6455 section 5.2."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


def handshake(path: str) -> bytes:
    """The opening request of RFC 6455 section 4.1, with the section's own example key."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def client_frame(opcode: int, payload: bytes = b"", *, final: bool = True, claimed: int | None = None) -> bytes:
    """A frame as a client sends it, masked with a key of zeros, which leaves the payload as it is.

    `claimed` is the length that the header tells, where it isn't that of the payload.
    """
    return client_header(opcode, len(payload) if claimed is None else claimed, final=final) + payload


def client_header(opcode: int, length: int, *, final: bool = True) -> bytes:
    first = opcode | (0x80 if final else 0)
    if length < 126:
        return struct.pack("!BB4x", first, 0x80 | length)
    if length < 65_536:
        return struct.pack("!BBH4x", first, 0x80 | 126, length)
    return struct.pack("!BBQ4x", first, 0x80 | 127, length)


def parse_server_frame(data: bytes | bytearray) -> tuple[int, bytes, int] | None:
    """Opcode, payload and size of the frame that `data` begins with, or None where it isn't complete yet.

    Takes what this project's servers send: unmasked and unfragmented.
    """
    if len(data) < 2:
        return None
    assert data[0] & 0x80, "a fragment"
    length, start = data[1], 2
    if length == 126:
        if len(data) < 4:
            return None
        length, start = int.from_bytes(data[2:4]), 4
    elif length == 127:
        if len(data) < 10:
            return None
        length, start = int.from_bytes(data[2:10]), 10
    end = start + length
    if len(data) < end:
        return None
    return data[0] & 0x0F, bytes(data[start:end]), end
