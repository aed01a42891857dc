"""`/data/history`: resolutions, ranges and the running candle, in the broker's shape."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

from execution.sandbox.exchange import Exchange
from execution.sandbox.http import ApiError
from execution.sandbox.market import daily_of
from execution.sandbox.market_path import FIRST_DAY
from execution.sandbox.session import MINUTE_S, Candles

MINUTES = (1, 2, 3, 5, 10, 15, 20, 30, 60, 120, 240)
MAX_DAYS_MINUTE, MAX_DAYS_DAILY = 100, 366


def read_range(query: dict[str, str], *, daily: bool) -> tuple[int, int]:
    """Both ends inclusive, epoch seconds. ApiError -50 if they make no range."""
    try:
        if query.get("date_format", "0") == "1":
            first, last = (date.fromisoformat(query[name]) for name in ("range_from", "range_to"))
            start = int(datetime(first.year, first.month, first.day, tzinfo=UTC).timestamp()) - (0 if daily else 19_800)
            end = (
                int(datetime(last.year, last.month, last.day, tzinfo=UTC).timestamp())
                + 86_399
                - (0 if daily else 19_800)
            )
        else:
            start, end = int(query["range_from"]), int(query["range_to"])
            datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC)
    except (KeyError, ValueError, OverflowError, OSError) as error:
        raise ApiError(
            400, -50, "range_from and range_to must be epoch seconds (date_format 0) or YYYY-MM-DD (date_format 1)"
        ) from error
    if end < start:
        raise ApiError(400, -50, "range_to lies before range_from")
    if end - start > (MAX_DAYS_DAILY if daily else MAX_DAYS_MINUTE) * 86_400:
        limit = MAX_DAYS_DAILY if daily else MAX_DAYS_MINUTE
        raise ApiError(400, -50, f"the range may span at most {limit} days at this resolution")
    return start, end


async def history(exchange: Exchange, query: dict[str, str], *, venue: float) -> dict[str, Any]:
    """The reply without its envelope. A candle still forming is returned only with epoch ranges that reach into it."""
    symbol, resolution = query.get("symbol", ""), query.get("resolution", "").upper()
    if symbol not in exchange.market.listings:
        raise ApiError(400, -300, "Invalid symbol")
    daily = resolution in ("D", "1D")
    if not daily and not (resolution.isdigit() and int(resolution) in MINUTES):
        raise ApiError(400, -50, f"resolution must be D or one of {', '.join(map(str, MINUTES))} minutes")
    start, end = read_range(query, daily=daily)
    rows = await (
        _daily(exchange, symbol, start, end)
        if daily
        else _intraday(exchange, symbol, int(resolution) * MINUTE_S, start, end)
    )
    rows = rows[(rows[:, 0] >= start) & (rows[:, 0] <= end)]
    if len(rows) and not daily and query.get("date_format") == "1":
        ends_at = min(int(rows[-1, 0]) + int(resolution) * MINUTE_S, exchange.market.running.closes_at)
        if ends_at > venue and not exchange.ended:
            rows = rows[:-1]
    candles = [[int(r[0]), *(int(x) / 100 for x in r[1:5]), int(r[5])] for r in rows.tolist()]
    if query.get("oi_flag") == "1":
        candles = [[*candle, 0] for candle in candles]
    return {"candles": candles}


async def _intraday(exchange: Exchange, symbol: str, bucket_s: int, start: int, end: int) -> Candles:
    market = exchange.market
    if market.replay:
        return market.imported_candles(symbol, bucket_s=bucket_s, tick=exchange.tick)
    parts: list[Candles] = []
    for day in _days(exchange, start + 19_800, end + 19_800):
        candles = market.day_candles(symbol, day, exchange.tick, bucket_s=bucket_s)
        if len(candles):
            parts.append(candles)
            await asyncio.sleep(0)  # a long range must not hold up the market
    return np.concatenate(parts) if parts else np.empty((0, 6), dtype=np.int64)


async def _daily(exchange: Exchange, symbol: str, start: int, end: int) -> Candles:
    market = exchange.market
    parts: list[Candles] = []
    if market.replay:
        book = market.replay.history.get(symbol, {})
        if "D" in book:
            parts.append(book["D"])
        minutes = market.imported_candles(symbol, bucket_s=MINUTE_S, tick=exchange.tick)
        known = {int(stamp) // 86_400 for stamp in (book["D"][:, 0] if "D" in book else ())}
        numbers = (minutes[:, 0] + 19_800) // 86_400
        for number in np.unique(numbers):
            if int(number) not in known:
                parts.append(daily_of(minutes[numbers == number], date(1970, 1, 1) + timedelta(days=int(number))))
    else:
        for day in _days(exchange, start, end):
            parts.append(daily_of(market.day_candles(symbol, day, exchange.tick, bucket_s=MINUTE_S), day))
            await asyncio.sleep(0)
    return np.concatenate(parts) if parts else np.empty((0, 6), dtype=np.int64)


def _days(exchange: Exchange, start: int, end: int) -> list[date]:
    """Calendar dates the simulation may know between two instants, the running day included."""
    first = max(date(1970, 1, 1) + timedelta(days=start // 86_400), FIRST_DAY)
    last = min(date(1970, 1, 1) + timedelta(days=end // 86_400), exchange.market.running.day)
    return [first + timedelta(days=offset) for offset in range((last - first).days + 1)]
