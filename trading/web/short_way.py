"""Orders that programs post in the usual form go from the socket to their service, and meet no framework on the way.

What is not in the usual form, and what the lane leaves undone, goes the long way, which alone says what is wrong. Both
have the same headers: those of the middleware are asked of it once for each host, and kept.
"""

import re
from functools import cache
from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from execution.api.order_lane import Answered, OrderLane, Posted, account_of
from execution.api.views import Orders
from trading.api.idempotency import KEY_SHAPE
from trading.api.throttling import COUNTED
from trading.gathering import Lanes
from trading.web.kept_headers import Dressed, Headers, KeptHeaders, read_headers

ADDRESS = "/api/v1/orders/"
MOST_TOGETHER = 32
BEARER = re.compile(rb"[Bb]earer ([!-~]+)")
JSON_TYPES = frozenset({b"application/json", b"application/json; charset=utf-8"})
ANY_TYPE = frozenset({b"", b"*/*", b"application/json"})
READ = frozenset({b"authorization", b"content-type", b"idempotency-key", b"accept", b"host", b"x-forwarded-proto"})
"""Headers that the short way goes by; one that occurs twice is for the long way."""


class ShortWay:
    """Answers orders in the usual form."""

    def __init__(self, dressed: Dressed, *, threads: int) -> None:
        self._headers = KeptHeaders(dressed)
        lane = OrderLane()
        self._lanes: Lanes[Posted, Answered] = Lanes(
            lane.answer, most=MOST_TOGETHER, threads=threads, rest=lane.rest, name="orders"
        )  # fmt: skip

    def close(self) -> None:
        """End its threads."""
        self._lanes.close()

    async def __call__(self, scope: dict[str, Any], body: Any) -> list[dict[str, Any]] | None:
        """The messages of the answer; None: to be answered the long way. `body` is then unread."""
        if scope["path"] != ADDRESS or scope["method"] != "POST" or scope.get("query_string"):
            return None
        given = read_headers(scope, READ)
        posted = _read(given, body) if given is not None else None
        headers = self._headers.of(scope, given) if posted and given is not None else None
        if posted is None or headers is None:
            return None
        answered = await self._lanes(account_of(posted), posted)
        if answered.counted is not None:
            scope[COUNTED] = answered.counted
        if answered.body is None or answered.counted is None:
            return None
        told = [(name.encode(), value.encode()) for name, value in answered.counted.headers().items()]
        kind, length = answered.content_type.encode(), str(len(answered.body)).encode()
        return [
            {
                "type": "http.response.start", "status": answered.status,
                "headers": [(b"Content-Type", kind), *_of_the_view(), *headers, *told, (b"Content-Length", length)],
            },
            {"type": "http.response.body", "body": answered.body},
        ]  # fmt: skip


@cache
def _of_the_view() -> Headers:
    """What the view itself says with every answer."""
    view = Orders()
    view.setup(HttpRequest())
    own = {**view.default_response_headers, "Cache-Control": "no-store"}
    return [(name.encode(), value.encode()) for name, value in own.items()]


def _read(given: dict[bytes, bytes], body: Any) -> Posted | None:
    bearer = BEARER.fullmatch(given.get(b"authorization", b""))
    key = given.get(b"idempotency-key", b"").decode("latin1")
    if bearer is None or not KEY_SHAPE.fullmatch(key):
        return None
    if given.get(b"content-type", b"") not in JSON_TYPES or given.get(b"accept", b"") not in ANY_TYPE:
        return None
    raw = body.read()
    body.seek(0)
    return Posted.read(bearer.group(1).decode("ascii"), key, raw, address=ADDRESS, now=timezone.now())
