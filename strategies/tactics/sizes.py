"""How many units a signal of a contract is worth, before the gates. Pure: the desk, and the tests of its backtester."""

from decimal import Decimal

from risk.sizing import fixed_rupees, percent_equity, risk_per_trade, volatility_target
from strategies.contracts.schema import SizingKind, SizingSpec


def units_wanted(
    sizing: SizingSpec, *, equity_paise: int, most_risk_pct: Decimal, entry: Decimal, stop: Decimal,
    volatility_pct: float | None,
) -> int | None:  # fmt: skip
    """Units, rounded down; None where what the size goes by is not known.

    `most_risk_pct`: percent of equity that one trade may lose at its stop; `volatility_pct`: percent a year.
    """
    if sizing.risk_pct is not None:
        share = min(sizing.risk_pct, most_risk_pct)
        return risk_per_trade(equity_paise=equity_paise, risk_pct=share, entry=entry, stop=stop)
    if sizing.kind is SizingKind.FIXED_QUANTITY:
        return int(sizing.value)
    if sizing.kind is SizingKind.FIXED_RUPEES:
        return fixed_rupees(rupees=sizing.value, entry=entry)
    if sizing.kind is SizingKind.PERCENT_EQUITY:
        return percent_equity(equity_paise=equity_paise, share_pct=sizing.value, entry=entry)
    if volatility_pct is None:
        return None
    return volatility_target(
        equity_paise=equity_paise, target_pct=sizing.value, volatility_pct=volatility_pct, entry=entry
    )
