"""What two pages say to each other through the call socket: opaque to the server, the frontend's as the wire contract
has it."""

import json
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Self

from aiortc import RTCIceCandidate, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp


class SignalKind(IntEnum):
    OFFER = 1
    ANSWER = 2
    CANDIDATE = 3


@dataclass(frozen=True, slots=True)
class PeerSignal:
    """`payload`: a session description or an ICE candidate, as browsers write them in JSON."""

    kind: SignalKind
    payload: Any

    @classmethod
    def describing(cls, description: RTCSessionDescription) -> Self:
        kind = SignalKind.OFFER if description.type == "offer" else SignalKind.ANSWER
        return cls(kind, {"type": description.type, "sdp": description.sdp})

    @classmethod
    def decode(cls, message: str) -> Self:
        body = json.loads(message)
        return cls(SignalKind(body["type"]), body["payload"])

    def encode(self) -> str:
        return json.dumps({"type": self.kind, "payload": self.payload})

    def description(self) -> RTCSessionDescription:
        return RTCSessionDescription(sdp=self.payload["sdp"], type=self.payload["type"])

    def candidate(self) -> RTCIceCandidate | None:
        """None for the end of the candidates (RFC 8838, section 8.2)."""
        line = str(self.payload["candidate"]).removeprefix("candidate:")
        if not line:
            return None
        candidate = candidate_from_sdp(line)
        candidate.sdpMid = self.payload.get("sdpMid")
        candidate.sdpMLineIndex = self.payload.get("sdpMLineIndex")
        return candidate
