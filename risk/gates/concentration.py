"""Are these many positions, or one bet many times?"""

from decimal import Decimal

from risk.gates.finding import Finding, Limits, Snapshot, passed, plain, rejected, to_share, up_to
from trading.domain.money import to_paise
from trading.domain.orders import OrderIntent

HALF = Decimal(50)
CORRELATION_DAYS = 60
LEAST_DAYS = 20  # returns on common days, below which nothing is said


def sector_exposure(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """Keep one sector within its share of equity. An instrument without a sector is a sector of its own."""
    if not intent.sector:
        return passed("SECTOR_EXPOSURE", intent.quantity, message="Its sector is not known.")
    cap = int(snapshot.equity_paise * limits.sector_exposure_pct / 100)
    price = to_paise(intent.price)
    room = max(0, cap - snapshot.sector_exposure_paise) // price if price > 0 else 0
    what = f"{plain(limits.sector_exposure_pct)} % of equity in {intent.sector}"
    return up_to("SECTOR_EXPOSURE", room, intent, limit=f"₹{cap // 100}", what=what)


def correlation(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """Sixty daily returns against those of every open position: much alike halves the size, the same is refused."""
    limit = f"{plain(limits.correlation_halve)} / {plain(limits.correlation_reject)}"
    if not snapshot.correlations:
        return passed("CORRELATION", intent.quantity, limit=limit, message="Nothing open to compare with.")
    symbol, strongest = max(snapshot.correlations, key=lambda pair: pair[1])
    shown = f"{strongest:.2f}"
    if strongest > limits.correlation_reject:
        message = f"It moves as {symbol} does, which is held: {shown}."
        return rejected("CORRELATION", value=shown, limit=limit, message=message)
    if strongest > limits.correlation_halve:
        because = f"It moves much as {symbol} does, which is held: {shown}."
        return to_share("CORRELATION", HALF, intent, value=shown, limit=limit, because=because)
    return passed("CORRELATION", intent.quantity, value=shown, limit=limit, message="A bet of its own.")
