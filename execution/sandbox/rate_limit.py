"""Requests per user, in real time: 10 a second, 200 a minute. Source: FYERS v3 limits."""

from __future__ import annotations

from collections import deque

PER_SECOND, PER_MINUTE = 10, 200


class RateLimit:
    """Sliding windows over the last minute of one user's requests. Times are monotonic seconds."""

    def __init__(self, *, per_second: int = PER_SECOND, per_minute: int = PER_MINUTE) -> None:
        self.per_second, self.per_minute = per_second, per_minute
        self._seen: dict[str, deque[float]] = {}

    def wait_s(self, user: str, now: float) -> float:
        """0 if the request is allowed (it then counts), else the seconds until one would be."""
        seen = self._seen.setdefault(user, deque())
        while seen and seen[0] <= now - 60:
            seen.popleft()
        if len(seen) >= self.per_minute:
            return seen[-self.per_minute] + 60 - now
        if len(seen) >= self.per_second and seen[-self.per_second] > now - 1:
            return seen[-self.per_second] + 1 - now
        seen.append(now)
        return 0.0
