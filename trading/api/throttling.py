"""How often one key, or one person, may call. Politeness; the order rate itself is held by risk.

One atomic counter a minute in Valkey, shared by all processes. When Valkey is away calls pass: nobody must be kept
from closing a position because a counter is lost.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import redis
from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from accounts.models import ApiKey

logger = logging.getLogger(__name__)

WINDOW_S = 60
READS = 600
WRITES = 120
COUNTED = "tarazu.counted"
"""Where a request says that it was counted before it came to its view."""


@dataclass(frozen=True, slots=True)
class Counted:
    """One call of a caller: which it is in its window, how many there may be, and when the next window begins."""

    count: int
    limit: int
    reset_s: int

    @property
    def is_one_too_many(self) -> bool:
        return self.count > self.limit

    def headers(self) -> dict[str, str]:
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(max(0, self.limit - self.count)),
            "RateLimit-Reset": str(self.reset_s),
        }


def counted(kind: str, callers: Sequence[str]) -> list[Counted]:
    """A call of each, in one trip. `kind` is read or write; a caller is a key, a user or an address."""
    now = time.time()
    window = int(now // WINDOW_S)
    reset_s, limit = max(1, round((window + 1) * WINDOW_S - now)), PerCaller.limits[kind]
    counts = count_calls([f"throttle:{kind}:{one}:{window}" for one in callers])
    return [Counted(count, limit, reset_s) for count in counts]


def count_call(key: str) -> int:
    """How often this was called in its window, this call included; 0 when Valkey is away. `key` names the window."""
    return count_calls([key])[0]


def count_calls(keys: Sequence[str]) -> list[int]:
    """The same of several calls, in one trip."""
    try:
        with _connection().pipeline(transaction=False) as both:
            for key in keys:
                both.incr(f"{settings.REDIS_PREFIX}:{key}")
                both.expire(f"{settings.REDIS_PREFIX}:{key}", WINDOW_S * 2)
            return [int(count) for count in both.execute()[::2]]
    except redis.RedisError as error:
        logger.warning("calls are not counted: %s", type(error).__name__)
        return [0] * len(keys)


def _connection() -> redis.Redis:
    """One client a process, with a pool of its own: each request of the web is a new thread, and would connect anew."""
    return _client(settings.REDIS_URL)


@lru_cache(maxsize=4)
def _client(url: str) -> redis.Redis:
    client: redis.Redis = redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1)
    return client


class PerCaller(BaseThrottle):
    """Calls in a minute by key or user; reads and writes are counted apart."""

    limits = {"read": READS, "write": WRITES}

    def allow_request(self, request: Request, view: APIView) -> bool:
        kind = "read" if request.method in {"GET", "HEAD", "OPTIONS"} else "write"
        before = getattr(request._request, "scope", {}).get(COUNTED)  # type: ignore[attr-defined]
        self.counted: Counted = before or counted(kind, [self._caller(request)])[0]
        request._request.rate_limit = self.counted  # type: ignore[attr-defined]
        return not self.counted.is_one_too_many

    def wait(self) -> float:
        return self.counted.reset_s

    def _caller(self, request: Request) -> str:
        if isinstance(request.auth, ApiKey):
            return f"key:{request.auth.pk}"
        if request.user.is_authenticated:
            return f"user:{request.user.pk}"
        return f"address:{self.get_ident(request)}"
