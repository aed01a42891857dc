"""A hook that takes alerts, and alerts as its sender writes them."""

from typing import Any

from django.utils import timezone

from execution.hooks.keep import hook_create
from execution.models import Hook
from trading.portfolio.models import Portfolio


def a_hook(portfolio: Portfolio, **values: Any) -> tuple[Hook, str]:
    """A hook and its secret."""
    given = {"name": "My alerts", "rate_per_minute": 10_000} | values
    return hook_create(portfolio=portfolio, values=given, actor="test", wall=timezone.now())


def an_alert(secret: str | None = None, **changes: Any) -> dict[str, Any]:
    """The full payload: a strategy went long 100 SBIN. A change is given as `tv__action="sell"`; None leaves it out."""
    alert: dict[str, Any] = {
        "source": "tradingview",
        "timestamp": timezone.now().isoformat(),
        "tv": {
            "exchange": "NSE", "symbol": "SBIN", "timeframe": "15", "action": "buy", "market_position": "long",
            "market_position_size": "100", "prev_market_position": "flat", "prev_market_position_size": "0",
            "entry_price": "812.35", "close_price": "812.30", "order_size": "100",
        },
        "strategy_info": {"trade_id": "Long", "alert_name": "SBIN long", "alert_message": "DCA 1"},
        "execution_intent": {"position_size_type": "contracts", "precision_mode": "auto"},
        "risk": {"stop_loss": "798.0", "take_profit": None, "max_slippage_percent": 0.2},
    }  # fmt: skip
    if secret is not None:
        alert["secret"] = secret
    for path, value in changes.items():
        *sections, name = path.split("__")
        place = alert
        for section in sections:
            place = place[section]
        if value is None:
            place.pop(name, None)
        else:
            place[name] = value
    return alert
