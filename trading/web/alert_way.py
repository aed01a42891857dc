"""Alerts go from the socket to the hook's door and meet no framework on the way. Those that come while others are being
taken in are taken in next, together.

Whatever is not the usual request goes the long way (`execution.views.hook_door`), by the same steps. So does what found
the database gone: an alert that was stored all the same is met there as its own copy.
"""

import logging
import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.core.exceptions import SuspiciousOperation
from django.db import connection
from django.http import QueryDict

from execution.hooks.arrival import Knock, Reply
from execution.hooks.receive import make_ready, receive_all
from execution.hooks.signature import HEADER
from execution.hooks.strict_json import MAX_BODY_BYTES
from execution.views import knocked, told
from trading.gathering import Lanes
from trading.web.kept_headers import Dressed, KeptHeaders, read_headers

logger = logging.getLogger(__name__)
ADDRESS = re.compile(r"/hooks/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})/?")
MOST_TOGETHER = 32
SIGNATURE = HEADER.lower().encode()
READ = frozenset({
    b"host", b"x-forwarded-proto", b"x-forwarded-for", b"content-length", b"transfer-encoding", b"idempotency-key",
    SIGNATURE,
})  # fmt: skip


class AlertWay:
    """Those of one hook in their order, one turn at a time; `threads` hooks at once."""

    def __init__(self, dressed: Dressed, *, threads: int) -> None:
        self._headers = KeptHeaders(dressed)
        self._lanes: Lanes[Knock, Reply] = Lanes(
            _take, most=MOST_TOGETHER, threads=threads, rest=_rest, name="alerts"
        )  # fmt: skip

    def close(self) -> None:
        """End its threads."""
        self._lanes.close()

    async def __call__(self, scope: dict[str, Any], body: Any) -> list[dict[str, Any]] | None:
        """The messages of the answer; None: to be answered the long way. `body` is then unread."""
        address = ADDRESS.fullmatch(scope["path"]) if scope["method"] == "POST" else None
        given = read_headers(scope, READ) if address else None
        if address is None or given is None or not _is_short(given):
            return None
        headers = self._headers.of(scope, given)
        if headers is None:
            return None
        try:
            secret = QueryDict(query).get("secret") if (query := scope.get("query_string")) else None
        except SuspiciousOperation:
            return None
        raw = body.read()
        body.seek(0)
        knock = knocked(
            UUID(address[1]), raw, sender=(scope.get("client") or ("",))[0], address_secret=secret,
            forwarded=_text(given, b"x-forwarded-for"), signature=_text(given, SIGNATURE),
            idempotency_key=_text(given, b"idempotency-key"),
        )  # fmt: skip
        try:
            reply = await self._lanes(knock.hook_id, knock)
        except Exception as error:
            logger.warning("an alert goes the long way: %s", type(error).__name__)
            return None
        content, own = told(reply)
        return [
            {
                "type": "http.response.start", "status": reply.status,
                "headers": [
                    *((name.encode(), value.encode("latin1")) for name, value in own.items()), *headers,
                    (b"Content-Length", str(len(content)).encode()),
                ],
            },
            {"type": "http.response.body", "body": content},
        ]  # fmt: skip


def _is_short(given: dict[bytes, bytes]) -> bool:
    length = given.get(b"content-length", b"")
    return length.isdigit() and int(length) <= MAX_BODY_BYTES and b"transfer-encoding" not in given


def _text(given: dict[bytes, bytes], name: bytes) -> str:
    return given.get(name, b"").decode("latin1")


def _take(knocks: Sequence[Knock]) -> list[Reply | Exception]:
    try:
        replies = receive_all(knocks)
    except Exception:
        connection.close()
        raise
    if connection.errors_occurred:  # the next turn has another
        connection.close()
    return replies


def _rest() -> None:
    """No alerts come: the thread's connection is given back."""
    connection.close()


def warm() -> None:
    """Before the first alert comes. Without a database there is nothing to get ready, and the process starts all the
    same."""
    try:
        make_ready()
    except Exception as error:
        logger.warning("the first alert will wait a little longer: %s", type(error).__name__)
    finally:
        connection.close()
