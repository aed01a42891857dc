"""Option chains: stored as they were seen, read as they were known at an instant, with Greeks and doubts.

A chain knows two times: the exchange's own, and when we had it. Readers go by the second, so that nothing is known
before it was; how far the two lie apart, and whether the same chain keeps coming, says whether it is stale.
"""

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import numpy as np
from django.db import transaction
from django.db.models import F
from numpy.typing import NDArray

from trading.domain.errors import TradingError
from trading.indicators.greeks import implied_volatilities, option_greeks, years_to
from trading.marketdata.models import ChainSnapshot
from trading.venue.sessions import SessionKind, exchange_date, session_on

Floats = NDArray[np.float64]
SIDE_FIELDS: Final = ("ltp", "bid", "ask", "bid_quantity", "ask_quantity", "oi", "oi_change", "volume", "iv")
FIELDS: Final = ("strike", *(f"ce_{name}" for name in SIDE_FIELDS), *(f"pe_{name}" for name in SIDE_FIELDS))
STALE_LAG_S: Final = 120.0  # between the exchange's time and ours
STALE_AGE_S: Final = 180.0  # since the exchange's time, while the market trades
STALE_REPEATS: Final = 3
MOST_STRIKES: Final = 2_000
RATE: Final = 0.07  # a year; what the call and put parity of NIFTY chains implies is near it


class ChainRefused(TradingError):
    """This cannot be an option chain. Nothing was stored."""


@dataclass(frozen=True, slots=True)
class Chain:
    """All strikes of one expiry, rising. `values` float64[fields, strikes] in the order of FIELDS; NaN: not given.

    Prices in rupees, quantities in units, `iv` as a fraction a year.
    """

    values: Floats

    def column(self, name: str) -> Floats:
        found: Floats = self.values[FIELDS.index(name)]
        return found

    @property
    def strikes(self) -> Floats:
        return self.column("strike")

    @classmethod
    def of(cls, columns: Mapping[str, Any]) -> "Chain":
        """From columns by name; those that are absent are NaN. Errors: ChainRefused (NO_STRIKES, BAD_STRIKES)."""
        strikes = np.asarray(columns.get("strike", ()), np.float64)
        if not strikes.size:
            raise ChainRefused("NO_STRIKES", "the chain has no strikes")
        order = np.argsort(strikes)
        values = np.full((len(FIELDS), strikes.size), np.nan)
        for row, name in enumerate(FIELDS):
            if name in columns:
                values[row] = np.asarray(columns[name], np.float64)[order]
        rising = values[0]
        sound = np.isfinite(rising).all() and rising[0] > 0 and (np.diff(rising) > 0).all()
        if rising.size > MOST_STRIKES or not sound:
            raise ChainRefused("BAD_STRIKES", "strikes are not positive numbers, each there once")
        return cls(values)

    def pack(self) -> bytes:
        return zlib.compress(np.ascontiguousarray(self.values).astype("<f8").tobytes(), 6)

    @classmethod
    def unpack(cls, packed: bytes | memoryview) -> "Chain":
        return cls(np.frombuffer(zlib.decompress(bytes(packed)), "<f8").reshape(len(FIELDS), -1))

    @property
    def max_pain(self) -> float:
        """The strike at which the holders of all options together would get least."""
        strikes = self.strikes
        calls, puts = np.nan_to_num(self.column("ce_oi")), np.nan_to_num(self.column("pe_oi"))
        below = np.maximum(strikes[:, None] - strikes[None, :], 0.0)
        paid = below @ calls + below.T @ puts
        return float(strikes[int(np.argmin(paid))])


@dataclass(frozen=True, slots=True)
class SeenChain:
    """A stored chain as known at an instant. `stale`: why nothing should be traded on it; empty: it is fresh."""

    snapshot: ChainSnapshot
    chain: Chain
    stale: str


@transaction.atomic
def store_chain(
    chain: Chain, *, exchange: str, underlying: str, expiry: date, source: str, exchange_at: datetime | None,
    stored_at: datetime, spot: Decimal | None = None,
) -> tuple[ChainSnapshot, bool]:  # fmt: skip
    """Keep a chain; (row, whether it is new). The same one again is counted on its row.

    `exchange_at` None: the source gives none. Then its first arrival stands for it, and a chain that is still the
    newest one's equal counts as that one come again.

    Errors: ChainRefused (FROM_THE_FUTURE: the exchange's time is more than a minute after ours; EXPIRED).
    """
    digest = hashlib.sha256(np.ascontiguousarray(chain.values).astype("<f8").tobytes()).hexdigest()
    if exchange_at is None:
        newest = (
            ChainSnapshot.objects.filter(exchange=exchange, underlying=underlying, expiry=expiry, source=source)
            .order_by("-exchange_at").first()
        )  # fmt: skip
        same = newest is not None and newest.digest == digest
        exchange_at = newest.exchange_at if newest is not None and same else stored_at
    if exchange_at - stored_at > timedelta(minutes=1):
        raise ChainRefused("FROM_THE_FUTURE", f"the exchange's time {exchange_at} is after ours, {stored_at}")
    if expiry < exchange_date(exchange_at):
        raise ChainRefused("EXPIRED", f"a chain of {expiry} on {exchange_date(exchange_at)}")
    row, created = ChainSnapshot.objects.get_or_create(
        exchange=exchange, underlying=underlying, expiry=expiry, source=source, exchange_at=exchange_at, digest=digest,
        defaults={
            "stored_at": stored_at, "last_stored_at": stored_at, "spot": spot, "strikes": chain.strikes.size,
            "call_oi": int(np.nansum(chain.column("ce_oi"))), "put_oi": int(np.nansum(chain.column("pe_oi"))),
            "packed": chain.pack(),
        },
    )  # fmt: skip
    if not created and stored_at > row.last_stored_at:
        ChainSnapshot.objects.filter(pk=row.pk).update(repeats=F("repeats") + 1, last_stored_at=stored_at)
        row.refresh_from_db()
    return row, created


def staleness(row: ChainSnapshot, *, now: datetime) -> str:
    """Why a chain is stale at an instant, in words with a code before; empty: it is not."""
    if row.lag_s > STALE_LAG_S:
        return f"STALE_CHAIN: stored {row.lag_s:.0f} s after the exchange's own time"
    session = session_on(exchange_date(now), kind=SessionKind.DERIVATIVES, assume_weekdays=True)
    trading = session is not None and any(segment.holds(now) for segment in session.segments)
    age = (now - row.exchange_at).total_seconds()
    if trading and age > STALE_AGE_S:
        repeated = f", and came {row.repeats + 1} times unchanged" if row.repeats >= STALE_REPEATS else ""
        return f"STALE_CHAIN: the exchange's time is {age:.0f} s old{repeated}"
    return ""


def chain_at(
    underlying: str, expiry: date, now: datetime, *, exchange: str = "NSE", source: str | None = None
) -> SeenChain | None:
    """The newest chain that we had at an instant; None: there was none."""
    rows = ChainSnapshot.objects.filter(
        underlying=underlying, expiry=expiry, exchange=exchange, stored_at__lte=now
    ).order_by("-stored_at", "-exchange_at")
    if source is not None:
        rows = rows.filter(source=source)
    row = rows.first()
    return None if row is None else SeenChain(row, Chain.unpack(row.packed), staleness(row, now=now))


def chain_expiries(underlying: str, now: datetime, *, exchange: str = "NSE") -> list[date]:
    """Expiries of which a chain was known at an instant and that are not over, rising."""
    found = ChainSnapshot.objects.filter(
        underlying=underlying, exchange=exchange, stored_at__lte=now, expiry__gte=exchange_date(now)
    )
    return sorted(set(found.order_by().values_list("expiry", flat=True)))


def chains_between(
    underlying: str, expiry: date, *, start: datetime, end: datetime, exchange: str = "NSE"
) -> list[ChainSnapshot]:
    """Stored chains with start <= stored_at < end, in order of our own time."""
    return list(
        ChainSnapshot.objects.filter(
            underlying=underlying, expiry=expiry, exchange=exchange, stored_at__gte=start, stored_at__lt=end
        ).order_by("stored_at", "exchange_at")
    )


@dataclass(frozen=True, slots=True)
class ChainGreeks:
    """By strike, float64[strikes] each side; NaN where neither the exchange nor the price gives a volatility.

    `iv` as a fraction a year: the exchange's own where it gave one, else implied by the middle of bid and ask, else by
    the last price. Delta; gamma a rupee; theta rupees a calendar day; vega rupees a point of volatility.
    """

    years: float
    spot: float
    call: dict[str, Floats]
    put: dict[str, Floats]


def greeks_of(chain: Chain, *, spot: float, expiry: date, now: datetime, rate: float = RATE) -> ChainGreeks:
    """Volatilities and Greeks of a chain at an instant, for contracts that end with the session of expiry day."""
    years = years_left(expiry, now)
    sides = {}
    for side, is_call in (("ce", True), ("pe", False)):
        strikes = chain.strikes
        price = _price_of(chain, side)
        given = chain.column(f"{side}_iv")
        implied = implied_volatilities(price, spot, strikes, years, is_call, rate=rate)
        vol = np.where(np.nan_to_num(given) > 0, given, implied)
        delta, gamma, theta, vega, _ = option_greeks(spot, strikes, years, vol, is_call, rate=rate)
        sides[side] = {"iv": vol, "delta": delta, "gamma": gamma, "theta": theta, "vega": vega}
    return ChainGreeks(years, spot, sides["ce"], sides["pe"])


def years_left(expiry: date, now: datetime) -> float:
    """Years of 365 days to the end of the session of expiry day; never negative."""
    session = session_on(expiry, kind=SessionKind.DERIVATIVES, assume_weekdays=True)
    return years_to(session.closes_at if session is not None else now, now)


def _price_of(chain: Chain, side: str) -> Floats:
    bid, ask, last = (chain.column(f"{side}_{name}") for name in ("bid", "ask", "ltp"))
    two_sided = (bid > 0) & (ask >= bid)
    return np.where(two_sided, (bid + ask) / 2, np.where(last > 0, last, np.nan))


def parity_spot(chain: Chain, *, years: float, rate: float = RATE) -> float | None:
    """The price of the underlying that calls and puts agree on (put-call parity near the money); None: too few quotes.

    For chains that came without it, and for an index whose own price is older than its options'.
    """
    call, put = _price_of(chain, "ce"), _price_of(chain, "pe")
    both = np.isfinite(call) & np.isfinite(put)
    if np.count_nonzero(both) < 3:
        return None
    strikes = chain.strikes[both]
    gap = call[both] - put[both]
    nearest = np.argsort(np.abs(gap))[:5]
    return float(np.median(gap[nearest] + strikes[nearest] * np.exp(-rate * years)))


def as_rows(chain: Chain, greeks: ChainGreeks | None = None) -> Sequence[dict[str, Any]]:
    """A chain as rows for pages and programs: strike, and for `call` and `put` each what is known; None: nothing."""
    columns = {name: chain.column(name).tolist() for name in FIELDS}
    rows = []
    for at, strike in enumerate(columns["strike"]):
        row: dict[str, Any] = {"strike": strike}
        for side, name in (("ce", "call"), ("pe", "put")):
            told = {field: _none(columns[f"{side}_{field}"][at]) for field in SIDE_FIELDS}
            if greeks is not None:
                computed = greeks.call if side == "ce" else greeks.put
                told |= {field: _none(float(values[at])) for field, values in computed.items()}
            row[name] = told
        rows.append(row)
    return rows


def _none(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 6)
