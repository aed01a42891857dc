"""Can the price be believed, and is the order near it?"""

from risk.gates.finding import Finding, Limits, Snapshot, passed, plain, rejected
from trading.domain.orders import OrderIntent


def signal_age(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """An opinion grows old. A hand on the ticket has no age."""
    if intent.signal_age_s is None:
        return passed("SIGNAL_AGE", intent.quantity, message="Asked for by hand.")
    age, most = f"{intent.signal_age_s:.1f} s", f"{limits.max_signal_age_s:g} s"
    if intent.signal_age_s > limits.max_signal_age_s:
        return rejected("SIGNAL_AGE", value=age, limit=most, message=f"The signal is {age} old.")
    return passed("SIGNAL_AGE", intent.quantity, value=age, limit=most, message="The signal is fresh.")


def quote_freshness(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """No entry on a price that is not there or not fresh."""
    most = f"{limits.max_quote_age_s:g} s"
    if snapshot.quote_age_s is None or snapshot.last_price is None:
        return rejected("QUOTE_AGE", value="none", limit=most, message=f"There is no price of {intent.symbol}.")
    age = f"{snapshot.quote_age_s:.2f} s"
    if snapshot.quote_age_s > limits.max_quote_age_s:
        return rejected("QUOTE_AGE", value=age, limit=most, message=f"The last price is {age} old.")
    return passed("QUOTE_AGE", intent.quantity, value=age, limit=most, message="The price is fresh.")


def price_collar(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """A price far from the last trade is a mistake."""
    limit = f"{plain(limits.price_collar_pct)} %"
    if not snapshot.last_price:
        return rejected("PRICE_COLLAR", value="none", limit=limit, message="There is no last price to compare with.")
    away = abs(intent.price - snapshot.last_price) * 100 / snapshot.last_price
    if away > limits.price_collar_pct:
        message = f"{intent.price} is {away:.2f} % away from the last price {snapshot.last_price}."
        return rejected("PRICE_COLLAR", value=f"{away:.2f} %", limit=limit, message=message)
    return passed("PRICE_COLLAR", intent.quantity, value=f"{away:.2f} %", limit=limit, message="Near the last price.")
