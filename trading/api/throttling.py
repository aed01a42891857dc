"""How often one key, or one person, may call. Politeness; the order rate itself is held by risk.

One atomic counter a minute in Valkey, shared by all processes. When Valkey is away calls pass: nobody must be kept
from closing a position because a counter is lost.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from accounts.models import ApiKey
from trading.valkey import Command, Errand, run_errands

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
    found: list[Counted] = []
    run_errands(counting(kind, callers, found.extend))
    return found


def counting(kind: str, callers: Sequence[str], take: Callable[[list[Counted]], None]) -> Errand:
    """The same as an errand that others go with."""
    now = time.time()
    window = int(now // WINDOW_S)
    reset_s, limit = max(1, round((window + 1) * WINDOW_S - now)), PerCaller.limits[kind]
    return _counting(
        [f"throttle:{kind}:{one}:{window}" for one in callers],
        lambda counts: take([Counted(count, limit, reset_s) for count in counts]),
    )


def count_call(key: str) -> int:
    """How often this was called in its window, this call included; 0 when Valkey is away. `key` names the window."""
    return count_calls([key])[0]


def count_calls(keys: Sequence[str]) -> list[int]:
    """The same of several calls, in one trip."""
    found: list[int] = []
    run_errands(_counting(keys, found.extend))
    return found


def _counting(keys: Sequence[str], take: Callable[[list[int]], None]) -> Errand:
    commands: list[Command] = []
    for key in keys:
        name = f"{settings.REDIS_PREFIX}:{key}"
        commands += [("INCR", name), ("EXPIRE", name, WINDOW_S * 2)]

    def read(counts: Sequence[Any] | None) -> None:
        take([0] * len(keys) if counts is None else [int(one) for one in counts[::2]])

    return Errand("how often they called", commands, read)


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
