"""How many units an idea is worth. Gates may shrink it later, never grow it. Pure.

Every method answers in units, rounded down; lots are cut afterwards (`InstrumentSpec.whole_lots`), and what is above
the exchange's freeze quantity is sent in slices (`trading.venue.precision.slice_quantity`).
"""

from decimal import ROUND_DOWN, Decimal

from trading.domain.money import to_paise

KELLY_CAP = Decimal("0.25")
"""Never more than a quarter of what Kelly says: his fraction is for odds that are known."""
TRADING_DAYS = 252


def fixed_rupees(*, rupees: Decimal, entry: Decimal) -> int:
    """Units that so many rupees buy."""
    price = to_paise(entry)
    return int(to_paise(rupees) // price) if price > 0 and rupees > 0 else 0


def risk_per_trade(*, equity_paise: int, risk_pct: Decimal, entry: Decimal, stop: Decimal) -> int:
    """Units whose loss from entry to stop is `risk_pct` of equity."""
    distance = to_paise(abs(entry - stop))
    if distance <= 0 or equity_paise <= 0:
        return 0
    return int(equity_paise * risk_pct / 100 / distance)


def percent_equity(*, equity_paise: int, share_pct: Decimal, entry: Decimal) -> int:
    """Units that cost `share_pct` of equity."""
    price = to_paise(entry)
    if price <= 0 or equity_paise <= 0:
        return 0
    return int(equity_paise * share_pct / 100 / price)


def volatility_target(*, equity_paise: int, target_pct: Decimal, daily_deviation_pct: Decimal, entry: Decimal) -> int:
    """Units whose one-year deviation is `target_pct` of equity, by the deviation of daily returns in percent.

    A year has 252 days and their deviations grow with the square root of time.
    """
    if daily_deviation_pct <= 0 or equity_paise <= 0:
        return 0
    yearly_pct = daily_deviation_pct * Decimal(TRADING_DAYS).sqrt()
    return percent_equity(equity_paise=equity_paise, share_pct=target_pct * 100 / yearly_pct, entry=entry)


def kelly_fraction(*, win_rate: Decimal, payoff: Decimal, part: Decimal = KELLY_CAP) -> Decimal:
    """Share of equity to put at risk: p - (1 - p) / b of Kelly (1956), times `part`, which is a quarter at most.

    `win_rate` between 0 and 1; `payoff`: mean win by mean loss. 0 where the odds are against it.
    """
    if payoff <= 0 or not 0 <= win_rate <= 1:
        return Decimal(0)
    whole = win_rate - (1 - win_rate) / payoff
    return max(Decimal(0), whole) * min(part, KELLY_CAP)


def kelly(
    *, equity_paise: int, win_rate: Decimal, payoff: Decimal, entry: Decimal, stop: Decimal, part: Decimal = KELLY_CAP
) -> int:
    """Units whose loss at the stop is Kelly's capped share of equity."""
    share = (kelly_fraction(win_rate=win_rate, payoff=payoff, part=part) * 100).quantize(Decimal("0.0001"), ROUND_DOWN)
    return risk_per_trade(equity_paise=equity_paise, risk_pct=share, entry=entry, stop=stop)
