"""A portfolio's risk right now: positions, their stops, strategies and past, put into numbers by `risk.metrics`."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

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
from trading.indicators.greeks import DAYS, greeks, implied_volatility
from trading.marketdata.models import Feed, Instrument
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
    if group.stop_price is not None:
        loss = to_paise((price - group.stop_price) * one.net_quantity)
    strategy = group.signal.deployment.version.contract.name if group.signal and group.signal.deployment else ""
    segment = SEGMENTS.get(instrument.segment, instrument.segment)
    if instrument.instrument_type.startswith("OPT"):
        segment = "Options"
    return Held(
        symbol=instrument.ticker, segment=segment, sector=instrument.sector, strategy=strategy,
        value_paise=to_paise(price * one.net_quantity), stop_loss_paise=loss,
    )  # fmt: skip


SEGMENTS = {"CM": "Shares", "FO": "Futures", "CD": "Currency", "COM": "Commodity"}


def _greeks(feed: Feed, holdings: list[Holding], now: datetime) -> list[dict[str, float]]:
    """Of each option held, times its units; of what cannot be reckoned, nothing is said."""
    options = [one for one in holdings if one.group.instrument.instrument_type.startswith("OPT")]
    if not options:
        return []
    underlyings = {_underlying(one.group.instrument) for one in options}
    symbols = [f"NSE:{name}-EQ" for name in underlyings if name] + [f"NSE:{name}-INDEX" for name in underlyings if name]
    quotes = last_quotes(feed.name, symbols)
    found = []
    for one in options:
        said = _of_one(one, quotes, now)
        if said is not None:
            found.append(said)
    return found


def _underlying(instrument: Instrument) -> str:
    return str(getattr(instrument, "underlying", "") or "")


def _of_one(one: Holding, quotes: Any, now: datetime) -> dict[str, float] | None:
    instrument: Any = one.group.instrument
    name = _underlying(instrument)
    quote: Quote | None = quotes.get(f"NSE:{name}-EQ") or quotes.get(f"NSE:{name}-INDEX")
    strike, expiry = getattr(instrument, "strike", None), getattr(instrument, "expiry", None)
    if quote is None or strike is None or expiry is None or one.last_price is None:
        return None
    years = ((expiry - exchange_date(now)).days + 0.5) / DAYS
    terms = {"spot": float(quote.last_price), "strike": float(strike), "years": years}
    is_call = instrument.instrument_type.endswith("CE") or getattr(instrument, "option_type", "") == "CE"
    volatility = implied_volatility(price=float(one.last_price), is_call=is_call, **terms)
    if volatility is None:
        return None
    said = greeks(volatility=volatility, is_call=is_call, **terms)
    units = one.net_quantity
    return {"delta": said.delta * units, "gamma": said.gamma * units, "theta": said.theta * units,
            "vega": said.vega * units}  # fmt: skip
