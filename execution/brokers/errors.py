"""What can go wrong on the way to a broker. No message here ever carries a token: every text is scrubbed on entry."""

import re

from trading.domain.errors import TradingError

_SECRETS = (
    re.compile(r"eyJ[\w-]{4,}(?:\.[\w-]*){1,2}"),  # a JWT, whole or cut off
    re.compile(
        r"(?i)\b((?:auth_code|access_token|refresh_token|authorization|appidhash|secret|code_verifier)\b[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,}]+"
    ),
)
_LONGEST = 400


def redact(text: str) -> str:
    """The text without anything that opens an account, and no longer than a sentence."""
    text = _SECRETS[0].sub("[redacted]", text)
    text = _SECRETS[1].sub(r"\1[redacted]", text)
    return text[:_LONGEST]


class BrokerError(TradingError):
    """A broker could not be asked, or did not answer as it should."""

    def __init__(self, code: str, message: str, **numbers: object) -> None:
        super().__init__(code, redact(message), **numbers)


class TransientError(BrokerError):
    """Likely to pass by itself: a busy server, a broken line. Reads may be asked again."""


class NotSent(TransientError):
    """No connection came about, so not one byte of the request left this machine."""


class SentButUnanswered(BrokerError):
    """The request left; what became of it is not known. For a placement this is doubt, never refusal."""


class RateLimited(BrokerError):
    """Asked too often. `retry_after` is in seconds, None where the broker does not say."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__("RATE_LIMITED", message, retry_after=retry_after)
        self.retry_after = retry_after


class AuthError(BrokerError):
    """The broker does not know us (any more): sign in again."""


class BusinessError(BrokerError):
    """Understood and declined. `broker_code` in the numbers is the broker's own code."""


class DeprecatedError(BrokerError):
    """The broker no longer offers this call."""


class UnexpectedReply(BrokerError):
    """An answer of a shape we do not know. Never guessed at, never taken for an empty list."""

    def __init__(self, message: str, **numbers: object) -> None:
        super().__init__("UNEXPECTED_REPLY", message, **numbers)
