"""Carrying a rule of a fault plan out on one request: before it reaches the broker, and on the way back."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from execution.sandbox.faults import FaultDeck, Rule
from execution.sandbox.fyers_rest import API
from execution.sandbox.http import ApiError, Reply, Request, json_reply
from execution.sandbox.kite_fields import KiteError
from execution.sandbox.kite_rest import ORDERS as KITE_ORDERS

ORDERS = f"{API}/orders/sync"


@dataclass(frozen=True, slots=True)
class Words:
    """How one dialect names its calls, its lists and its errors."""

    calls: tuple[tuple[str, str, str], ...]  # method, path as a pattern, call
    lists: Mapping[str, tuple[str, ...]]  # where in the answer a book's rows are
    trade_price: str
    error: Callable[[int, int, str], ApiError]  # status, FYERS code, message

    def call_of(self, request: Request) -> str:
        for method, path, call in self.calls:
            if request.method == method and re.fullmatch(path, request.path):
                return call
        return "other"


def _in_kite(status: int, _: int, message: str) -> ApiError:
    if status == 401:
        return KiteError(403, "TokenException", "Incorrect `api_key` or `access_token`.")
    return KiteError(status, "NetworkException", message)


FYERS = Words(
    calls=(
        ("POST", ORDERS, "place"), ("PATCH", ORDERS, "modify"), ("DELETE", ORDERS, "cancel"),
        ("POST", f"{API}/gtt/orders/sync", "trigger"),
        ("GET", f"{API}/orders", "orders"), ("GET", f"{API}/tradebook", "trades"),
        ("GET", f"{API}/positions", "positions"), ("GET", f"{API}/funds", "funds"),
    ),
    lists={"orders": ("orderBook",), "trades": ("tradeBook",), "positions": ("netPositions",)},
    trade_price="tradePrice",
    error=ApiError,
)  # fmt: skip
KITE = Words(
    calls=(
        ("POST", KITE_ORDERS, "place"), ("PUT", rf"{KITE_ORDERS}/\w+", "modify"),
        ("DELETE", rf"{KITE_ORDERS}/\w+", "cancel"), ("POST", "/gtt/triggers", "trigger"),
        ("GET", "/orders", "orders"), ("GET", "/trades", "trades"), ("GET", "/portfolio/positions", "positions"),
        ("GET", "/user/margins", "funds"),
    ),
    lists={"orders": ("data",), "trades": ("data",), "positions": ("data", "net")},
    trade_price="average_price",
    error=_in_kite,
)  # fmt: skip
PAGE = b"<!doctype html><title>Maintenance</title><p>We shall be back shortly."
Handler = Callable[[Request], Awaitable[Reply]]


class CutLine(Exception):
    """The answer is not to be sent: the line goes dead."""


class Spoiler:
    """Stands between the wire and the broker. Without rules it hands everything through."""

    def __init__(self, deck: FaultDeck) -> None:
        self.deck = deck
        self.first_seen: dict[str, float] = {}  # when a book first had a row: what is younger can be kept back

    async def handle(self, request: Request, handler: Handler, words: Words) -> Reply:
        call = words.call_of(request)
        rules = self.deck.at(call)
        for rule in rules:
            if rule.kind == "delay":
                await asyncio.sleep(rule.ms / 1000)
            elif not rule.acted:
                _refuse(rule, words)
        try:
            reply = await handler(request)
        except ApiError as error:
            reply = json_reply(error.status, error.body(), error.headers)
        for rule in rules:
            if rule.acted:
                _refuse(rule, words)
            reply = self._spoil(rule, call, reply, words)
        return reply

    def _spoil(self, rule: Rule, call: str, reply: Reply, words: Words) -> Reply:
        match rule.kind:
            case "drop_reply":
                raise CutLine
            case "timeout_400":
                return json_reply(400, words.error(400, -99, "order request timed out").body())
            case "cut_short":
                return Reply(reply.status, reply.body[: len(reply.body) // 2], reply.content_type)
            case "other_id" if reply.status == 200:
                return _with_other_id(reply)
        if call not in words.lists or reply.status != 200:
            return reply
        body = json.loads(reply.body)
        holder, *path = body, *words.lists[call]
        for name in path[:-1]:
            holder = holder[name]
        holder[path[-1]] = self._rows(rule, call, holder[path[-1]], words)
        return json_reply(reply.status, body)

    def _rows(self, rule: Rule, call: str, rows: list[dict[str, Any]], words: Words) -> list[dict[str, Any]]:
        match rule.kind:
            case "empty_book":
                return []
            case "short_book":
                return rows[: max(0, len(rows) - rule.rows)]
            case "late_book":
                return [row for row in rows if self._age_s(_key(call, row)) * 1000 >= rule.ms]
            case "doubled_fills":
                return [*rows, *rows]
            case "shuffled":
                return random.Random(f"{len(rows)}:{self.deck.done['shuffled']}").sample(rows, len(rows))
            case "other_price" if rows and call == "trades":
                price = words.trade_price
                return [*rows[:-1], {**rows[-1], price: round(rows[-1][price] * 1.01, 2)}]
        return rows

    def _age_s(self, key: str) -> float:
        now = time.monotonic()
        return now - self.first_seen.setdefault(key, now)


def _key(call: str, row: dict[str, Any]) -> str:
    names = ("tradeNumber", "trade_id", "id", "order_id")
    return f"{call}:{next((row[name] for name in names if row.get(name)), '')}"


def _refuse(rule: Rule, words: Words) -> None:
    """ApiError, or a page, for rules that answer in the broker's place."""
    match rule.kind:
        case "too_many":
            error = words.error(429, -429, "request limit reached")
            error.headers["Retry-After"] = "1"
            raise error
        case "server_error":
            raise words.error(rule.status, rule.status, "the broker is not available")
        case "token_expired":
            raise words.error(401, -8, "Your token has expired. Please generate a token")
        case "html":
            raise Page


class Page(Exception):
    """A page of HTML is the answer."""

    reply = Reply(200, PAGE, "text/html; charset=utf-8")


def _with_other_id(reply: Reply) -> Reply:
    """The number before the one that was given: most likely somebody else's, or our last order's."""
    body = json.loads(reply.body)
    holder, name = (body, "id") if "id" in body else (body.get("data") or {}, "order_id")
    number = str(holder.get(name, ""))
    if number.isdigit():
        holder[name] = str(int(number) - 1).zfill(len(number))
    return json_reply(reply.status, body)
