"""A portfolio's risk right now: positions, their stops, strategies and past, put into numbers by `risk.metrics`."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

import numpy as np

from execution.holdings import Holding, open_holdings
from risk.drawdown import drawdown_pct
from risk.loss_locks import locks_in_force
from risk.market_facts import daily_returns
from risk.metrics import (
    DrawdownPath,
    Exposure,
    Held,
    added,
    correlations,
    drawdown_path,
    exposure,
    exposure_by,
    historical_var,
    open_risk,
    utilisation_pct,
    worst_case,
)
from risk.models import DrawdownState, LossLock, RiskBucket, RiskPolicy
from risk.policies import active_policy
from trading.domain.money import to_paise
from trading.indicators.greeks import implied_volatilities, option_greeks
from trading.marketdata.models import Feed
from trading.marketdata.option_chain import RATE, years_left
from trading.marketdata.quotes import Quote, last_quotes
from trading.portfolio.models import Portfolio, TradingDay
from trading.portfolio.valuation import Valuation
from trading.venue.sessions import exchange_date

HISTORY_DAYS = 250


@dataclass(frozen=True, slots=True)
class RiskNumbers:
    """Paise and percent of equity. `correlation`: a matrix in the order of `symbols`; None where little is known."""

    at: datetime
    policy: RiskPolicy
    value: Valuation
    held: tuple[Held, ...]
    total: Exposure
    by_segment: dict[str, Exposure]
    by_sector: dict[str, Exposure]
    by_strategy: dict[str, Exposure]
    open_risk_paise: int
    worst_case_paise: int
    var_paise: int | None
    cvar_paise: int | None
    symbols: tuple[str, ...]
    correlation: list[list[float | None]]
    greeks: dict[str, float]
    step: str
    drawdown_pct: Decimal
    peak_paise: int
    path: DrawdownPath
    utilisation_pct: float | None
    exposure_cap_paise: int
    locks: tuple[LossLock, ...] = field(default=())
    slots_taken: int = 0
    trades_today: int = 0

    @property
    def unprotected(self) -> int:
        return sum(1 for one in self.held if one.stop_loss_paise is None)


def risk_numbers(portfolio: Portfolio, value: Valuation, *, now: datetime) -> RiskNumbers:
    """Reckon them; `now` is venue time, `value` the portfolio at the last prices."""
    policy = active_policy(portfolio.pk)
    feed = Feed.objects.get(name=portfolio.account.feed)
    holdings = [one for one in open_holdings(portfolio, value) if one.net_quantity]
    held = tuple(_held(one) for one in holdings)
    instruments = [one.group.instrument for one in holdings]
    returns = daily_returns(feed, instruments, now=now) if instruments else np.empty((0, 0))
    risk = historical_var(returns, [one.value_paise for one in held]) if held else (0, 0)
    state = DrawdownState.objects.filter(portfolio=portfolio).first()
    peak = state.peak_paise if state else value.equity_paise
    days = list(
        TradingDay.objects.filter(portfolio=portfolio).order_by("-session_date")
        .values_list("opening_equity_paise", flat=True)[:HISTORY_DAYS]
    )  # fmt: skip
    cap_pct = min(policy.total_exposure_pct, policy.hard_exposure_pct)
    cap = int(value.equity_paise * cap_pct / 100)
    total, day = exposure(held), exchange_date(now)
    buckets = RiskBucket.objects.filter(key__in=[f"SLOTS:{portfolio.pk}", f"TRADES:{portfolio.pk}:{day}"])
    taken = {bucket.kind: bucket.taken for bucket in buckets}
    return RiskNumbers(
        at=now, policy=policy, value=value, held=held, total=total, by_segment=exposure_by(held, "segment"),
        by_sector=exposure_by(held, "sector"), by_strategy=exposure_by(held, "strategy"),
        open_risk_paise=open_risk(held), worst_case_paise=worst_case(held),
        var_paise=risk[0] if risk else None, cvar_paise=risk[1] if risk else None,
        symbols=tuple(one.ticker for one in instruments), correlation=correlations(returns) if held else [],
        greeks=added(_greeks(feed, holdings, now)), step=state.step if state else "NORMAL",
        drawdown_pct=drawdown_pct(peak_paise=peak, equity_paise=value.equity_paise), peak_paise=peak,
        path=drawdown_path([*reversed(days), value.equity_paise]), utilisation_pct=utilisation_pct(total.gross, cap),
        exposure_cap_paise=cap, locks=tuple(locks_in_force(portfolio, day=day, policy=policy)),
        slots_taken=taken.get("SLOTS", 0),
        trades_today=taken.get("TRADES", 0),
    )  # fmt: skip


def _held(one: Holding) -> Held:
    instrument, group = one.group.instrument, one.group
    price = one.last_price or one.average_price or Decimal(0)
    loss = None
    stop = group.resting_stop or group.stop_price
    if stop is not None:
        loss = to_paise((price - stop) * one.net_quantity)
    strategy = group.signal.deployment.version.contract.name if group.signal and group.signal.deployment else ""
    segment = SEGMENTS.get(instrument.segment, instrument.segment)
    if instrument.instrument_type.startswith("OPT"):
        segment = "Options"
    return Held(
        symbol=instrument.ticker, segment=segment, sector=instrument.own_sector, strategy=strategy,
        value_paise=to_paise(price * one.net_quantity), stop_loss_paise=loss,
    )  # fmt: skip


SEGMENTS = {"CM": "Shares", "FO": "Futures", "CD": "Currency", "COM": "Commodity"}


def _greeks(feed: Feed, holdings: list[Holding], now: datetime) -> list[dict[str, float]]:
    """Of each option held, times its units; of what cannot be reckoned, nothing is said."""
    options = [one for one in holdings if one.group.instrument.instrument_type.startswith("OPT")]
    spots = last_quotes(feed.name, sorted({symbol for one in options if (symbol := _underlying(one))}))
    known = [one for one in options if one.last_price is not None and _underlying(one) in spots and _is_whole(one)]
    if not known:
        return []
    spot, strike, years, price = (
        np.array(column, np.float64)
        for column in zip(*(_terms(one, spots[_underlying(one)], now) for one in known), strict=True)
    )
    call = np.array([one.group.instrument.option_type == "CE" for one in known])
    volatility = implied_volatilities(price, spot, strike, years, call, rate=RATE)
    table = option_greeks(spot, strike, years, volatility, call, rate=RATE)[:4].T
    return [
        dict(zip(("delta", "gamma", "theta", "vega"), (row * one.net_quantity).tolist(), strict=True))
        for one, row in zip(known, table, strict=True)
        if np.isfinite(row).all()
    ]


def _underlying(one: Holding) -> str:
    under = one.group.instrument.underlying
    return under.symbol if under is not None else ""


def _is_whole(one: Holding) -> bool:
    return one.group.instrument.strike is not None and one.group.instrument.expiry is not None


def _terms(one: Holding, spot: Quote, now: datetime) -> tuple[float, float, float, float]:
    instrument = one.group.instrument
    assert instrument.strike is not None and instrument.expiry is not None and one.last_price is not None
    return (
        float(spot.last_price), float(instrument.strike), years_left(instrument.expiry, now), float(one.last_price),
    )  # fmt: skip
