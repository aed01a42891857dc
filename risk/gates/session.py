"""Is the market open for this?"""

from risk.gates.finding import Finding, Limits, Snapshot, passed, rejected
from trading.domain.clock import IST
from trading.domain.orders import OrderIntent


def market_hours(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """Entries only inside the window the policy leaves of the session."""
    now = snapshot.now.astimezone(IST)
    if not snapshot.session_open or snapshot.entries_from is None or snapshot.entries_until is None:
        return rejected("MARKET_HOURS", value=f"{now:%H:%M:%S}", message="The market is closed.")
    first, last = snapshot.entries_from.astimezone(IST), snapshot.entries_until.astimezone(IST)
    window = f"{first:%H:%M}–{last:%H:%M}"
    if not first <= now < last:
        message = f"Entries are allowed from {first:%H:%M} to {last:%H:%M}."
        return rejected("MARKET_HOURS", value=f"{now:%H:%M:%S}", limit=window, message=message)
    return passed("MARKET_HOURS", intent.quantity, value=f"{now:%H:%M:%S}", limit=window, message="Within hours.")


def market_open(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """Exits whenever there is continuous trading."""
    now = f"{snapshot.now.astimezone(IST):%H:%M:%S}"
    if not snapshot.session_open:
        return rejected("MARKET_CLOSED", value=now, message="The market is closed; the exit waits for it to open.")
    return passed("MARKET_CLOSED", intent.quantity, value=now, message="The market is open.")
