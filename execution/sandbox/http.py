"""The little HTTP the exchange needs: a request, a JSON reply, errors that become replies."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
MAX_BODY = 1_000_000


class ApiError(Exception):
    """A refusal in the broker's envelope: HTTP `status`, body `code` and `message`, optionally the order's id."""

    def __init__(
        self,
        status: int,
        code: int,
        message: str,
        *,
        order_id: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.order_id, self.headers = (
            status,
            code,
            message,
            order_id,
            headers or {},
        )

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"s": "error", "code": self.code, "message": self.message}
        if self.order_id:
            body["id"] = self.order_id
        return body


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    pairs: tuple[tuple[str, str], ...] = ()  # of the query, repeated names included

    def form(self) -> dict[str, str]:
        """The fields of a form; the last one wins."""
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))

    def json(self) -> Any:
        """The body; numbers with a point are Decimal. ApiError -50 if it is no JSON."""
        try:
            return json.loads(self.body, parse_float=Decimal, parse_constant=_no_constant)
        except ValueError as error:
            raise ApiError(400, -50, "the body is not valid JSON") from error

    def json_object(self) -> dict[str, Any]:
        body = self.json()
        if not isinstance(body, dict):
            raise ApiError(400, -50, "the body must be a JSON object")
        return body


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


def ok(payload: dict[str, Any] | None = None, *, code: int = 200, message: str = "") -> Reply:
    return json_reply(200, {"s": "ok", "code": code, "message": message, **(payload or {})})


def json_reply(status: int, body: Any, headers: dict[str, str] | None = None) -> Reply:
    return Reply(status, json.dumps(body, separators=(",", ":")).encode(), headers=headers or {})


async def read_request(scope: Scope, receive: Receive) -> Request:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError("the client went away")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > MAX_BODY:
            raise ApiError(413, -50, "the body is too large")
        if not message.get("more_body"):
            break
    pairs = tuple(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    return Request(
        scope["method"],
        scope["path"].rstrip("/") or "/",
        dict(pairs),
        {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
        b"".join(chunks),
        pairs,
    )


async def send_reply(reply: Reply, send: Send) -> None:
    headers = [
        (b"content-type", reply.content_type.encode()),
        (b"content-length", str(len(reply.body)).encode()),
        *((name.encode(), value.encode()) for name, value in reply.headers.items()),
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
