"""Options on the two indices: which are listed on a day, and what each costs at an instant.

Prices follow from the index, the time that is left and a smile of volatility (Black and Scholes 1973); interest and
volume follow from (seed, day, contract). They are quoted and listed, and not traded here.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from datetime import date, time, timedelta
from functools import lru_cache

from execution.sandbox.calendar import at_ist, is_trading_day
from execution.sandbox.market import Depth, Level, Market, Quote
from execution.sandbox.universe import BANK_NIFTY, NIFTY, Listing

TICK_PAISE = 5
RATE = 0.065
YEAR_S = 365 * 86_400
STRIKES_A_SIDE = 60
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKLY_MONTHS = "123456789OND"
TUESDAY = 1


@dataclass(frozen=True)
class Family:
    """Contracts on one index. `step` between strikes in paise; `weeks` of weekly expiries, none where 0."""

    root: str
    index: Listing
    step: int
    lot: int
    weeks: int
    vol: float


FAMILIES = {
    NIFTY.symbol: Family("NIFTY", NIFTY, 5_000, 65, 4, 0.12),
    BANK_NIFTY.symbol: Family("BANKNIFTY", BANK_NIFTY, 10_000, 30, 0, 0.15),
}


@dataclass(frozen=True)
class Contract:
    """One option. Strike in paise."""

    family: Family
    expiry: date
    strike: int
    is_call: bool

    @property
    def name(self) -> str:
        """`NIFTY26DEC26200CE` for the month's last expiry, `NIFTY26D0126200CE` for the others."""
        day = self.expiry
        when = MONTHS[day.month - 1] if _is_monthly(day) else f"{WEEKLY_MONTHS[day.month - 1]}{day:%d}"
        return f"{self.family.root}{day:%y}{when}{self.strike // 100}{'CE' if self.is_call else 'PE'}"

    @property
    def symbol(self) -> str:
        return f"NSE:{self.name}"

    @property
    def token(self) -> int:
        """The exchange's number: the same on every day."""
        return 35_000 + zlib.crc32(self.name.encode()) % 900_000

    @property
    def fy_token(self) -> str:
        return f"1011{self.expiry:%y%m%d}{self.token}"


@dataclass(frozen=True)
class OptionQuote:
    """Paise and units."""

    last: int
    bid: int
    ask: int
    prev_close: int
    interest: int
    prev_interest: int
    volume: int


class OptionBoard:
    """What is listed today on the running market."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self._listed = lru_cache(maxsize=4)(self._contracts_on)

    def listed(self) -> dict[str, Contract]:
        """By symbol. A replayed day has no options."""
        return {} if self.market.replay else self._listed(self.market.running.day)

    def _contracts_on(self, day: date) -> dict[str, Contract]:
        found = {}
        for family in FAMILIES.values():
            # around yesterday's close, so that a list holds for its whole day
            middle = self.market.running.names[family.index.symbol].prev_close // family.step * family.step
            for expiry in expiries(family, day):
                for at in range(-STRIKES_A_SIDE, STRIKES_A_SIDE + 1):
                    for is_call in (True, False):
                        one = Contract(family, expiry, middle + at * family.step, is_call)
                        found[one.symbol] = one  # a weekly that is the month's last is listed once
        return found

    def chain(self, index: str, expiry: date, count: int, tick: int) -> list[Contract]:
        """`count` strikes on each side of the money and the one at it, rising, calls before puts."""
        spot = self.market.quote(index, tick).last
        wanted = [one for one in self.listed().values() if one.family.index.symbol == index and one.expiry == expiry]
        strikes = sorted({one.strike for one in wanted})
        nearest = min(range(len(strikes)), key=lambda at: abs(strikes[at] - spot))
        shown = set(strikes[max(0, nearest - count) : nearest + count + 1])
        return sorted((one for one in wanted if one.strike in shown), key=lambda one: (one.strike, not one.is_call))

    def quote(self, one: Contract, tick: int, venue: float) -> OptionQuote:
        session, spot = self.market.running, self.market.quote(one.family.index.symbol, tick)
        noise = zlib.crc32(f"{self.market.seed}:{session.day}:{one.name}".encode())
        last = _priced(one, spot.last, venue)
        before = _priced(one, spot.prev_close, session.opens_at - 17.75 * 3600)
        spread = max(TICK_PAISE, last // 200 // TICK_PAISE * TICK_PAISE)
        away = abs(one.strike - spot.prev_close) / one.family.step
        lots = int(1 + (400 + noise % 4_000) / (1 + away / 6))
        done = min(1.0, max(0.0, (venue - session.opens_at) / (session.closes_at - session.opens_at)))
        return OptionQuote(
            last=last, bid=max(TICK_PAISE, last - spread), ask=last + spread, prev_close=before,
            interest=one.family.lot * int(lots * (1 + 0.1 * done * (noise % 3 - 1))),
            prev_interest=one.family.lot * lots, volume=one.family.lot * int(3 * lots * done),
        )  # fmt: skip

    def find(self, symbol: str) -> Contract | None:
        return self.listed().get(symbol)

    def as_quote(self, said: OptionQuote, venue: float) -> Quote:
        """As shares are quoted; the day's range is what is known of it now."""
        low, high = min(said.last, said.prev_close), max(said.last, said.prev_close)
        return Quote(
            said.last, 0, said.volume, said.last, said.prev_close, high, low, said.prev_close, int(venue)
        )  # fmt: skip

    def depth(self, said: OptionQuote, lot: int) -> Depth:
        steps = [at * TICK_PAISE for at in range(5)]
        bids = tuple(Level(said.bid - step, lot * 4, 2) for step in steps if said.bid > step)
        return Depth(bids, tuple(Level(said.ask + step, lot * 4, 2) for step in steps))

    def band(self, said: OptionQuote) -> tuple[int, int]:
        """As wide as the exchange lets an option go: to a tick, and to many times its close."""
        return TICK_PAISE, max(said.prev_close * 4, 20_000) // TICK_PAISE * TICK_PAISE


def expiries(family: Family, day: date) -> list[date]:
    """Rising: the weekly days of the family, and the last of this month and the next two."""
    found = set()
    for week in range(family.weeks):
        found.add(_trading(day + timedelta(days=(TUESDAY - day.weekday()) % 7 + 7 * week)))
    for more in range(4):
        found.add(_monthly(day.year + (day.month + more - 1) // 12, (day.month + more - 1) % 12 + 1))
    return sorted(one for one in found if one >= day)[: family.weeks + 3]


def _monthly(year: int, month: int) -> date:
    last = date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
    return _trading(last - timedelta(days=(last.weekday() - TUESDAY) % 7))


def _is_monthly(day: date) -> bool:
    return _monthly(day.year, day.month) == day


def _trading(day: date) -> date:
    while not is_trading_day(day):
        day -= timedelta(days=1)
    return day


def ends_at(expiry: date) -> int:
    """Epoch seconds of the last trade."""
    return at_ist(expiry, time(15, 30))


def _priced(one: Contract, spot: int, venue: float) -> int:
    """Paise on the tick, at least one tick."""
    years = max(60.0, ends_at(one.expiry) - venue) / YEAR_S
    distance = math.log(one.strike / spot)
    vol = one.family.vol * (1 + 4 * distance * distance - 0.8 * distance)
    deviation = vol * math.sqrt(years)
    d1 = (-distance + (RATE + vol * vol / 2) * years) / deviation
    d2 = d1 - deviation
    discounted = one.strike * math.exp(-RATE * years)
    if one.is_call:
        value = spot * _normal(d1) - discounted * _normal(d2)
    else:
        value = discounted * _normal(-d2) - spot * _normal(-d1)
    return max(TICK_PAISE, round(value / TICK_PAISE) * TICK_PAISE)


def _normal(x: float) -> float:
    return (1 + math.erf(x / math.sqrt(2))) / 2
