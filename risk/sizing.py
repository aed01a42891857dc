"""How many units an idea is worth. Gates may shrink it later, never grow it. Pure."""

from decimal import Decimal

from trading.domain.money import to_paise


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
