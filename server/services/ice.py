"""STUN and TURN servers for browsers, with credentials that are good for a while.

TURN by the scheme that coturn calls `use-auth-secret` (draft-uberti-behave-turn-rest-00): the user name is the time at
which it ends and who it is for, the password the HMAC-SHA1 of that under a secret that the two servers share.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass

from server.clock import Clock
from server.config.settings import Ice as IceSettings


@dataclass(frozen=True, slots=True)
class IceServer:
    """`username` and `credential` are empty for STUN."""

    urls: tuple[str, ...]
    username: str = ""
    credential: str = ""


class Ice:
    def __init__(self, settings: IceSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    @property
    def lifetime(self) -> int:
        """Seconds for which credentials are good."""
        return int(self._settings.turn_lifetime)

    def servers(self, user_id: int) -> list[IceServer]:
        servers = [IceServer(self._settings.stun)] if self._settings.stun else []
        if self._settings.turn:
            username = f"{int(self._clock.now().timestamp()) + self.lifetime}:{user_id}"
            servers.append(IceServer(self._settings.turn, username, self._credential(username)))
        return servers

    def _credential(self, username: str) -> str:
        secret = self._settings.turn_secret.get_secret_value().encode()
        return base64.b64encode(hmac.new(secret, username.encode(), hashlib.sha1).digest()).decode()
