"""What a portfolio holds, seen as risk: how much lies in how few names, and how alike they move."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import numpy as np

from strategies.backtest import blend
from strategies.backtest.blend import Floats
from strategies.backtest.metrics import TRADING_DAYS
from trading.marketdata.models import Feed, Instrument
from trading.marketdata.windows import load_window
from trading.portfolio.models import Portfolio, Position

DAYS: Final = 120  # of daily candles that correlations are made of
FEWEST: Final = 20  # of common days below which nothing is said of correlation
DAILY: Final = 1_440
MOST: Final = 60  # holdings in the matrix: the largest


@dataclass(frozen=True)
class Holding:
    """Units are signed; `value` rupees at the last daily close, None where there is no candle."""

    symbol: str
    ticker: str
    quantity: int
    close: Decimal | None
    value: Decimal | None


@dataclass(frozen=True)
class HoldingsRisk:
    """`weights` are signed shares of the gross value of what has a price, in the order of `priced`.

    `hhi`: the sum of the squares of their sizes, 1 for a single name; `effective`: its inverse. Correlation is of daily
    returns on the days that all have; None: too few. `volatility_pct` is annual, of the gross value.
    """

    holdings: list[Holding]
    priced: list[Holding]
    weights: Floats
    gross: Decimal
    net: Decimal
    hhi: float | None
    largest_pct: float | None
    top_five_pct: float | None
    days: int
    correlation: Floats | None
    mean_correlation: float | None
    risk_shares: Floats | None
    volatility_pct: float | None
    diversification_ratio: float | None

    @property
    def effective(self) -> float | None:
        return 1 / self.hhi if self.hhi else None

    @property
    def unpriced(self) -> list[Holding]:
        return [one for one in self.holdings if one.value is None]


def holdings_risk(portfolio: Portfolio, *, now: datetime) -> HoldingsRisk:
    """The open positions of a portfolio by the daily candles of its feed, as they were known at `now` (venue time)."""
    positions = list(
        Position.objects.filter(portfolio=portfolio).exclude(net_quantity=0).select_related("instrument").order_by("id")
    )
    quantity: dict[Instrument, int] = {}
    for one in positions:
        quantity[one.instrument] = quantity.get(one.instrument, 0) + one.net_quantity
    instruments = [one for one, units in quantity.items() if units]
    feed = Feed.objects.filter(name=portfolio.account.feed).first()
    closes = np.full((len(instruments), 0), np.nan)
    if feed is not None and instruments:
        closes = np.asarray(load_window(feed, instruments, DAILY, bars=DAYS + 1, until=now).close)
    holdings = [_holding(one, quantity[one], row) for one, row in zip(instruments, closes, strict=True)]
    order = sorted(range(len(holdings)), key=lambda at: -abs(float(holdings[at].value or 0)))
    holdings, closes = [holdings[at] for at in order], closes[order] if order else closes
    known = [at for at, one in enumerate(holdings) if one.value is not None][:MOST]
    priced = [holdings[at] for at in known]
    gross = sum((abs(one.value) for one in holdings if one.value is not None), Decimal(0))
    net = sum((one.value for one in holdings if one.value is not None), Decimal(0))
    weights = np.array([float((one.value or 0) / gross) for one in priced]) if gross else np.zeros(0)
    sizes = np.sort(np.abs(weights))[::-1]
    returns = _returns(closes[known]) if known else np.zeros((0, 0))
    told = returns.shape[1] >= FEWEST and bool(priced)
    cov = blend.covariance(returns) if told else None
    correlation = blend.correlations(returns) if told else None
    variance = float(weights @ cov @ weights) if cov is not None else None
    return HoldingsRisk(
        holdings=holdings, priced=priced, weights=weights, gross=gross, net=net,
        hhi=float((sizes**2).sum()) if sizes.size else None,
        largest_pct=100 * float(sizes[0]) if sizes.size else None,
        top_five_pct=100 * float(sizes[:5].sum()) if sizes.size else None,
        days=returns.shape[1], correlation=correlation, mean_correlation=_mean_of_pairs(correlation),
        risk_shares=blend.risk_shares(weights, cov) if cov is not None else None,
        volatility_pct=None if variance is None else 100 * float(np.sqrt(max(0.0, variance) * TRADING_DAYS)),
        diversification_ratio=blend.diversification_ratio(np.abs(weights), cov)
        if cov is not None and (weights > 0).all()
        else None,
    )  # fmt: skip


def as_mapping(found: HoldingsRisk) -> dict[str, Any]:
    """Plain values: rupees as text, shares as numbers."""

    def numbers(values: Any) -> Any:
        return None if values is None else [None if value != value else round(value, 10) for value in values.tolist()]

    return {
        "gross": f"{found.gross:.2f}", "net": f"{found.net:.2f}",
        "holdings": [
            {"symbol": one.symbol, "quantity": one.quantity, "close": None if one.close is None else str(one.close),
             "value": None if one.value is None else f"{one.value:.2f}"}
            for one in found.holdings
        ],
        "symbols": [one.symbol for one in found.priced], "weights": numbers(found.weights),
        "risk_shares": numbers(found.risk_shares), "hhi": found.hhi, "effective_names": found.effective,
        "largest_pct": found.largest_pct, "top_five_pct": found.top_five_pct, "days": found.days,
        "correlation": None if found.correlation is None else [numbers(row) for row in found.correlation],
        "mean_correlation": found.mean_correlation, "volatility_pct": found.volatility_pct,
        "diversification_ratio": found.diversification_ratio,
    }  # fmt: skip


def _holding(instrument: Instrument, units: int, row: Floats) -> Holding:
    known = row[np.isfinite(row)]
    close = Decimal(str(round(float(known[-1]), 4))) if known.size else None
    value = None if close is None else close * units
    return Holding(instrument.symbol, instrument.ticker, units, close, value)


def _returns(closes: Floats) -> Floats:
    """float64[holdings, days]: on the days that all have a close and had one the day before."""
    if closes.shape[1] < 2:
        return np.zeros((closes.shape[0], 0))
    steps = closes[:, 1:] / closes[:, :-1] - 1
    return np.asarray(steps[:, np.isfinite(steps).all(axis=0)])


def _mean_of_pairs(correlation: Floats | None) -> float | None:
    if correlation is None or correlation.shape[0] < 2:
        return None
    pairs = correlation[np.triu_indices(correlation.shape[0], 1)]
    known = pairs[np.isfinite(pairs)]
    return float(known.mean()) if known.size else None
