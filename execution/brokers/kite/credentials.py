"""What opens an account for a day, kept out of every repr."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from urllib.parse import urlencode

from trading.domain.clock import IST

_DIES_AT = time(6, 0)


@dataclass(frozen=True, slots=True)
class Credentials:
    """The key of the app and the access token of the day."""

    api_key: str
    access_token: str = field(repr=False)

    @property
    def header(self) -> str:
        return f"token {self.api_key}:{self.access_token}"

    def socket_url(self, socket: str) -> str:
        """The address of the socket carries the token, so it must never be shown."""
        return f"{socket}/?{urlencode({'api_key': self.api_key, 'access_token': self.access_token})}"


def expires_at(signed_in_at: datetime) -> datetime:
    """When a token of this instant dies: the next six in the morning, Indian time. Source: Kite Connect, login."""
    local = signed_in_at.astimezone(IST)
    day = local.date() if local.time() < _DIES_AT else local.date() + timedelta(days=1)
    return datetime.combine(day, _DIES_AT, IST).astimezone(UTC)
