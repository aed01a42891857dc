"""Can the price be believed, is the order near it, and is there somebody to trade with?"""

from datetime import time, timedelta
from decimal import Decimal

from risk.gates.finding import Finding, Limits, Snapshot, passed, plain, rejected
from trading.domain.clock import IST
from trading.domain.orders import OrderIntent

EDGE = timedelta(minutes=15)
NOON, ONE = time(12), time(13)
BARS, BAR_MIN = 20, 5  # what an instrument's usual spread and volume are measured by
OPTION_COLLAR_RUPEES = Decimal(5)


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
    """A price far from the last trade is a mistake. An option may be five rupees away, however cheap it is."""
    most = limits.option_collar_pct if intent.is_option else limits.price_collar_pct
    limit = f"{plain(most)} %"
    if not snapshot.last_price:
        return rejected("PRICE_COLLAR", value="none", limit=limit, message="There is no last price to compare with.")
    distance = abs(intent.price - snapshot.last_price)
    away = distance * 100 / snapshot.last_price
    near_enough = intent.is_option and distance <= OPTION_COLLAR_RUPEES
    if away > most and not near_enough:
        message = f"{intent.price} is {away:.2f} % away from the last price {snapshot.last_price}."
        return rejected("PRICE_COLLAR", value=f"{away:.2f} %", limit=limit, message=message)
    return passed("PRICE_COLLAR", intent.quantity, value=f"{away:.2f} %", limit=limit, message="Near the last price.")


def circuit_band(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """The exchange takes no price outside the day's band. An exit passes all the same: bands are relaxed in a day,
    and what we know of them may be old."""
    low, high = intent.lower_band, intent.upper_band
    if low is None or high is None:
        return passed("CIRCUIT_BAND", intent.quantity, message="No band is known.")
    limit = f"{low}–{high}"
    if low <= intent.price <= high:
        return passed("CIRCUIT_BAND", intent.quantity, value=intent.price, limit=limit, message="Inside the band.")
    message = f"{intent.price} is outside the day's band of {limit}."
    if intent.reduces:
        return passed("CIRCUIT_BAND", intent.quantity, value=intent.price, limit=limit, message=message)
    return rejected("CIRCUIT_BAND", value=intent.price, limit=limit, message=message)


def liquidity(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """A wide spread or an empty bar makes every plan wrong. Twice as strict at the edges of the day and at noon.

    It speaks to ideas that were tested on usual markets; who asks by hand has seen the book, and is told.
    """
    most = limits.spread_to_deviation / 2 if _thin_hours(snapshot) else limits.spread_to_deviation
    if snapshot.spread is not None and snapshot.spread < 0:
        message = "Its bid is above its ask: the quote cannot be believed."
        return _thin("LIQUIDITY_SPREAD", intent, value=str(snapshot.spread), limit=plain(most), message=message)
    if snapshot.spread and snapshot.close_deviation is not None:
        if not snapshot.close_deviation:
            message = "It did not move in its last 20 bars: no spread is narrow there."
            return _thin("LIQUIDITY_SPREAD", intent, value=str(snapshot.spread), limit=plain(most), message=message)
        ratio = snapshot.spread / snapshot.close_deviation
        if ratio > most:
            message = f"The spread of {snapshot.spread} is {ratio:.3f} of the deviation of the last 20 closes."
            return _thin("LIQUIDITY_SPREAD", intent, value=f"{ratio:.3f}", limit=plain(most), message=message)
    if snapshot.bar_volume is not None and snapshot.mean_volume:
        ratio = Decimal(snapshot.bar_volume) / snapshot.mean_volume
        if ratio < limits.min_volume_ratio:
            message = f"The last bar traded {ratio:.2f} of the mean of its 20."
            limit = plain(limits.min_volume_ratio)
            return _thin("LIQUIDITY_VOLUME", intent, value=f"{ratio:.2f}", limit=limit, message=message)
    measured = snapshot.close_deviation is not None and snapshot.mean_volume
    words = "Spread and volume are as usual." if measured else "Not measured: fewer than 20 bars are known."
    return passed("LIQUIDITY_SPREAD", intent.quantity, limit=plain(most), message=words)


def _thin(gate: str, intent: OrderIntent, *, value: str, limit: str, message: str) -> Finding:
    if intent.signal_age_s is None:
        return passed(gate, intent.quantity, value=value, limit=limit, message=f"{message} Asked for by hand.")
    return rejected(gate, value=value, limit=limit, message=message)


def opening_gap(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """After a jump at the open the past says little."""
    limit = f"{plain(limits.opening_gap_pct)} %"
    if snapshot.opening_gap_pct is None:
        return passed("OPENING_GAP", intent.quantity, limit=limit, message="Not measured: the open is not known.")
    shown = f"{snapshot.opening_gap_pct:.2f} %"
    if abs(snapshot.opening_gap_pct) > limits.opening_gap_pct:
        return rejected("OPENING_GAP", value=shown, limit=limit, message=f"It opened {shown} from the last close.")
    return passed("OPENING_GAP", intent.quantity, value=shown, limit=limit, message="It opened near the last close.")


def _thin_hours(snapshot: Snapshot) -> bool:
    """The first and the last quarter of an hour of the session, and the hour after noon."""
    opens, closes, now = snapshot.session_opens_at, snapshot.session_closes_at, snapshot.now
    if opens is not None and opens <= now < opens + EDGE:
        return True
    if closes is not None and closes - EDGE <= now < closes:
        return True
    return NOON <= now.astimezone(IST).time() < ONE
