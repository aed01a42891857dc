"""How many units an idea is worth. Gates may shrink it later, never grow it. Pure.

Every method answers in units, rounded down; lots are cut afterwards (`InstrumentSpec.whole_lots`), and what is above
the exchange's freeze quantity is sent in slices (`trading.venue.precision.slice_quantity`).
"""

from decimal import ROUND_DOWN, Decimal

from trading.domain.money import to_paise

KELLY_CAP = Decimal("0.25")
"""Never more than a quarter of what Kelly says: his fraction is for odds that are known."""
MOST_OF_EQUITY = 10_000_000
"""Millionths: what a calm market may ask for at most."""


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


def volatility_share(*, target_pct: Decimal, volatility_pct: float) -> int:
    """Share of equity, in millionths, whose one-year deviation is `target_pct` of equity: target by volatility.

    `volatility_pct`: the deviation of the instrument's returns, percent a year. At most ten times equity; 0 where it is
    not known. In floats: the event loop of the backtester reckons the same number (`strategies.backtest.engine`).
    """
    if not volatility_pct > 0:  # NaN too
        return 0
    return min(int(float(target_pct) / volatility_pct * 1_000_000), MOST_OF_EQUITY)


def volatility_target(*, equity_paise: int, target_pct: Decimal, volatility_pct: float, entry: Decimal) -> int:
    """Units whose one-year deviation is `target_pct` of equity."""
    share = volatility_share(target_pct=target_pct, volatility_pct=volatility_pct)
    return percent_equity(equity_paise=equity_paise, share_pct=Decimal(share) / 10_000, entry=entry)


def kelly_fraction(*, win_rate: Decimal, payoff: Decimal, part: Decimal = KELLY_CAP) -> Decimal:
    """Share of equity to put at risk: p - (1 - p) / b of Kelly (1956), times `part`, which is a quarter at most.

    `win_rate` between 0 and 1; `payoff`: mean win by mean loss. 0 where the odds are against it.
    """
    if payoff <= 0 or not 0 <= win_rate <= 1:
        return Decimal(0)
    whole = win_rate - (1 - win_rate) / payoff
    return max(Decimal(0), whole) * min(part, KELLY_CAP)


def kelly_risk_pct(*, win_rate: Decimal, payoff: Decimal, part: Decimal = KELLY_CAP) -> Decimal:
    """The same in percent of equity, down to a millionth."""
    share = kelly_fraction(win_rate=win_rate, payoff=payoff, part=part) * 100
    return share.quantize(Decimal("0.0001"), ROUND_DOWN)


def kelly(
    *, equity_paise: int, win_rate: Decimal, payoff: Decimal, entry: Decimal, stop: Decimal, part: Decimal = KELLY_CAP
) -> int:
    """Units whose loss at the stop is Kelly's capped share of equity."""
    share = kelly_risk_pct(win_rate=win_rate, payoff=payoff, part=part)
    return risk_per_trade(equity_paise=equity_paise, risk_pct=share, entry=entry, stop=stop)
