"""What opens an account for a day, kept out of every repr."""

import base64
import binascii
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from execution.brokers.errors import AuthError


@dataclass(frozen=True, slots=True)
class Credentials:
    """App id with its suffix (`ABCDEFGHIJ-100`) and the access token of the day."""

    app_id: str
    access_token: str = field(repr=False)

    @property
    def header(self) -> str:
        return f"{self.app_id}:{self.access_token}"

    @property
    def hsm_key(self) -> str:
        """The key of the price socket, a claim of the token. AuthError where the token has none."""
        key = claims(self.access_token).get("hsm_key")
        if not isinstance(key, str) or not key or not key.isascii():
            raise AuthError("TOKEN_WITHOUT_HSM_KEY", "The access token holds no key for the price socket.")
        return key


def claims(token: str) -> dict[str, Any]:
    """What a token says of itself. Unverified: the signature is the broker's to check. AuthError if unreadable."""
    parts = token.split(".")
    if len(parts) == 3:
        middle = parts[1]
        try:
            found = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
        except (ValueError, binascii.Error, RecursionError):
            found = None
        if isinstance(found, dict):
            return found
    raise AuthError("TOKEN_UNREADABLE", "The access token is not a readable JWT.")


def expires_at(token: str) -> datetime:
    """When the token dies, UTC. AuthError where it does not say."""
    moment = claims(token).get("exp")
    if isinstance(moment, bool) or not isinstance(moment, int | float) or not 0 < moment < 2**35:
        raise AuthError("TOKEN_WITHOUT_EXPIRY", "The access token does not say when it expires.")
    return datetime.fromtimestamp(moment, UTC)
