"""Replay of imported candles: a day that really happened, told again tick by tick.

The file is JSON: `date`; `symbols` {ticker: {tick_size, fy_token, prev_close, lower, upper, name, isin, level_size}};
`candles` {ticker: [[start, o, h, l, c, v], ...]} of one minute; `history` {ticker: {"1": [...]}} for earlier days;
`sessions`, if present, {date: ["09:15", "15:30"]} where hours differ from the calendar's. Prices in rupees.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np

from execution.sandbox.calendar import at_ist, session_hours
from execution.sandbox.session import Candles, Session, SymbolDay
from execution.sandbox.universe import INDICES, NIFTY50, Listing, tick_paise_for

TICK_SECONDS = (0, 15, 30, 59)
KNOWN = {listing.symbol: listing for listing in (*NIFTY50, *INDICES)}


class BadSessionFile(ValueError):
    """The session file cannot be replayed; the message says why."""


@dataclass(frozen=True)
class Replay:
    """One imported day with what came before it. `bands` are the circuit limits, paise."""

    session: Session
    listings: tuple[Listing, ...]
    bands: dict[str, tuple[int, int]]
    history: dict[str, dict[str, Candles]]
    hours: dict[date, tuple[int, int]]


def paise(rupees: Any) -> int:
    """Whole paise of a JSON number or text; more than two decimals are rounded (vendor feeds carry noise)."""
    try:
        return int((Decimal(str(rupees)) * 100).to_integral_value())
    except InvalidOperation as error:
        raise BadSessionFile(f"not a price: {rupees!r}") from error


def candle_rows(rows: list[list[Any]]) -> Candles:
    """[[start, o, h, l, c, v]] in rupees to paise, in time order."""
    out = np.array([[int(r[0]), *(paise(x) for x in r[1:5]), int(r[5])] for r in rows], dtype=np.int64).reshape(-1, 6)
    return out[np.argsort(out[:, 0], kind="stable")]


def load_replay(path: Path) -> Replay:
    """Read a session file. BadSessionFile with the reason when it is not one."""
    try:
        raw = json.loads(path.read_text(), parse_float=Decimal)
        day = date.fromisoformat(raw["date"])
        hours = {
            date.fromisoformat(d): (_hour(d, h[0]), _hour(d, h[1])) for d, h in (raw.get("sessions") or {}).items()
        }
        candles = {symbol: candle_rows(rows) for symbol, rows in raw["candles"].items()}
        history = {
            symbol: {resolution: candle_rows(rows) for resolution, rows in by_resolution.items()}
            for symbol, by_resolution in (raw.get("history") or {}).items()
        }
        facts = raw["symbols"]
    except BadSessionFile:
        raise
    except (OSError, KeyError, TypeError, ValueError, IndexError) as error:
        raise BadSessionFile(f"{path}: {type(error).__name__}: {error}") from error
    if not candles:
        raise BadSessionFile(f"{path}: no candles")
    opens_at, closes_at = hours.get(day) or session_hours(day)
    minutes = np.unique(np.concatenate([rows[:, 0] for rows in candles.values()]))
    minutes = minutes[(minutes >= opens_at) & (minutes < closes_at)]
    if minutes.size == 0:
        raise BadSessionFile(f"{path}: no candle inside the session of {day}")
    instants = (minutes[:, None] + np.array(TICK_SECONDS)).ravel()
    names: dict[str, SymbolDay] = {}
    listings: list[Listing] = []
    bands: dict[str, tuple[int, int]] = {}
    for number, symbol in enumerate(sorted(candles)):
        fact = facts.get(symbol) or {}
        rows = candles[symbol]
        rows = rows[np.isin(rows[:, 0], minutes)]
        if len(rows) == 0:
            raise BadSessionFile(f"{path}: {symbol} has no candle inside the session of {day}")
        listing = _listing(symbol, fact, rows, number)
        prev_close = paise(fact["prev_close"]) if fact.get("prev_close") is not None else int(rows[0, 1])
        listings.append(listing)
        bands[symbol] = (
            paise(fact["lower"]) if fact.get("lower") is not None else round(prev_close * 0.9),
            paise(fact["upper"]) if fact.get("upper") is not None else round(prev_close * 1.1),
        )
        names[symbol] = tape_of(rows, minutes, prev_close=prev_close, level_size=int(fact.get("level_size") or 0))
    return Replay(Session(day, opens_at, closes_at, instants, names), tuple(listings), bands, history, hours)


def tape_of(rows: Candles, minutes: np.ndarray, *, prev_close: int, level_size: int) -> SymbolDay:
    """Four trades a minute: open, the far extreme first (low before high if rising), close; volume in quarters."""
    count = len(minutes) * len(TICK_SECONDS)
    price, volume = np.zeros(count, np.int64), np.zeros(count, np.int64)
    slots = np.searchsorted(minutes, rows[:, 0]) * len(TICK_SECONDS)
    opened, high, low, close, traded = (rows[:, column] for column in range(1, 6))
    rising = close >= opened
    quarter = traded // 4
    for offset, value in enumerate((opened, np.where(rising, low, high), np.where(rising, high, low), close)):
        price[slots + offset] = value
        volume[slots + offset] = quarter if offset < 3 else traded - 3 * quarter
    started = int(slots[0])
    printed = np.zeros(count, np.bool_)
    for offset in range(len(TICK_SECONDS)):
        printed[slots + offset] = True
    price = price[
        np.maximum.accumulate(np.where(printed, np.arange(count), started))
    ]  # a silent minute keeps its price
    at_ask = np.diff(price, prepend=price[0]) >= 0
    usual = int(np.median(traded[traded > 0]) / 8) if (traded > 0).any() else 100
    return SymbolDay(
        price, volume, at_ask, np.ones(count, np.int8), prev_close, level_size or max(1, usual), started, printed
    )


def _listing(symbol: str, fact: dict[str, Any], rows: Candles, number: int) -> Listing:
    known = KNOWN.get(symbol)
    price = int(rows[0, 1])
    is_index = symbol.endswith("-INDEX")
    tick = (
        paise(fact["tick_size"])
        if fact.get("tick_size") is not None
        else (known.tick_paise if known else tick_paise_for(price))
    )
    fy_token = str(fact.get("fy_token") or (known.fy_token if known else f"1010000000{90_000 + number}"))
    return Listing(
        symbol=symbol,
        name=str(fact.get("name") or (known.name if known else symbol)),
        exchange_token=int(fy_token[10:]),
        isin=str(fact.get("isin") or (known.isin if known else "")),
        sector=known.sector if known else "",
        base_paise=price,
        tick_paise=max(1, tick),
        day_volume=int(rows[:, 5].sum()),
        weight=0.0,
        is_index=is_index,
        index_name=(known.index_name if known else symbol.split(":")[-1].rsplit("-", 1)[0]) if is_index else "",
    )


def _hour(day: str, clock: str) -> int:
    return at_ist(date.fromisoformat(day), time.fromisoformat(clock))
