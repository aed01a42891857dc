"""How often one key, or one person, may call. Politeness; the order rate itself is held by risk.

One atomic counter a minute in Valkey, shared by all processes. When Valkey is away calls pass: nobody must be kept
from closing a position because a counter is lost.
"""

import logging
import time
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


def count_call(key: str) -> int:
    """How often this was called in its window, this call included; 0 when Valkey is away. `key` names the window."""
    try:
        with _connection().pipeline(transaction=False) as both:
            both.incr(f"{settings.REDIS_PREFIX}:{key}")
            both.expire(f"{settings.REDIS_PREFIX}:{key}", WINDOW_S * 2)
            return int(both.execute()[0])
    except redis.RedisError as error:
        logger.warning("calls are not counted: %s", type(error).__name__)
        return 0


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
        self.limit = self.limits[kind]
        now = time.time()
        window = int(now // WINDOW_S)
        self.reset_s = max(1, round((window + 1) * WINDOW_S - now))
        count = count_call(f"throttle:{kind}:{self._caller(request)}:{window}")
        self.remaining = max(0, self.limit - count)
        request._request.rate_limit = self  # type: ignore[attr-defined]
        return count <= self.limit

    def wait(self) -> float:
        return self.reset_s

    def headers(self) -> dict[str, str]:
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_s),
        }

    def _caller(self, request: Request) -> str:
        if isinstance(request.auth, ApiKey):
            return f"key:{request.auth.pk}"
        if request.user.is_authenticated:
            return f"user:{request.user.pk}"
        return f"address:{self.get_ident(request)}"
