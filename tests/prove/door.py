"""The desk's door, as programs knock at it: requests that come together, from their first byte to their answer.

It stands in the same process as the desk, so that one kill takes both; whoever was not answered asks again.
"""

import asyncio
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

from django.utils import timezone

from accounts.api_keys import issue
from accounts.models import ApiKey
from tests.factories.hooks import a_hook, an_alert
from trading.api.models import IdempotencyRecord
from trading.marketdata.models import Instrument
from trading.portfolio.models import Portfolio
from trading.web.handler import OneStepHandler

ORDERS = "/api/v1/orders/"
LONG_AGO = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Request:
    """A body for an address, with the headers that only it has."""

    path: str
    body: Mapping[str, Any]
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: Mapping[str, Any]


def orders_of(portfolio: Portfolio, instruments: Sequence[Instrument]) -> list[Request]:
    """A wish for ten of each share, by a program with a key of its own. Asked again they are the same wishes."""
    key, token = issue(owner=portfolio.owner, name="bot", scope="trade", now=timezone.now())
    ApiKey.objects.filter(pk=key.pk).update(last_used_at=timezone.now())  # else the first call goes the long way
    ticket = {
        "portfolio": portfolio.pk, "side": "BUY", "quantity": 10, "order_type": "LIMIT", "product": "INTRADAY",
        "limit_price": "812.35", "stop_price": "804.00",
    }  # fmt: skip
    return [
        Request(
            ORDERS, {**ticket, "symbol": share.symbol},
            {"authorization": f"Bearer {token}", "idempotency-key": f"posted-{share.pk:08}"},
        )
        for share in instruments
    ]  # fmt: skip


def alerts_of(portfolio: Portfolio, instruments: Sequence[Instrument]) -> list[Request]:
    """An alert for each, as its sender writes it: sent again it says the same, to the instant."""
    hook, secret = a_hook(portfolio, max_age_s=3600)
    return [
        Request(
            hook.path,
            an_alert(
                secret, strategy_info__trade_id=f"alert {number}", tv__symbol=share.symbol.partition(":")[2],
                tv__market_position_size="50", tv__order_size="50", risk__stop_loss="790.00",
            ), {},
        )
        for number, share in enumerate(instruments)
    ]  # fmt: skip


@cache
def door_loaded() -> None:
    """Loads what a web process does when it starts, once: every life that is forked from here has it already."""
    _handler()


def _handler() -> OneStepHandler:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No directory at", UserWarning)  # of pages, which nobody asks for here
        return OneStepHandler()


class Door:
    """A web process's own handler."""

    def __init__(self) -> None:
        self._handler = _handler()

    def knock(self, requests: Sequence[Request]) -> list[Answer]:
        """All at once; whoever is told that a copy of it is at work comes back when that must have ended."""
        answers = asyncio.run(self._all(requests))
        if any(one.status == 409 for one in answers):
            IdempotencyRecord.objects.filter(status=None).update(claimed_at=timezone.now() - LONG_AGO)
            answers = asyncio.run(self._all(requests))
        if strange := [one for one in answers if one.status not in (200, 201, 202)]:
            raise RuntimeError(f"at the door: {strange}")
        return answers

    async def _all(self, requests: Sequence[Request]) -> list[Answer]:
        return await asyncio.gather(*(self._one(request) for request in requests))

    async def _one(self, request: Request) -> Answer:
        raw = json.dumps(request.body).encode()
        told = {
            "host": "localhost", "content-type": "application/json", "content-length": str(len(raw)), **request.headers
        }  # fmt: skip
        scope = {
            "type": "http", "method": "POST", "path": request.path, "query_string": b"", "scheme": "http",
            "headers": [(name.encode(), value.encode()) for name, value in told.items()],
            "server": ("localhost", 80), "client": ("127.0.0.1", 40_000),
        }  # fmt: skip
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": raw, "more_body": False}

        async def send(message: Mapping[str, Any]) -> None:
            sent.append(dict(message))

        await self._handler(scope, receive, send)
        return Answer(sent[0]["status"], json.loads(sent[1]["body"]))
