"""Is trading allowed at all, here and now?"""

from risk.gates.finding import Finding, Limits, Snapshot, passed, rejected
from trading.domain.orders import OrderIntent

LOCKDOWN = 5


def trading_state(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """The kill switch lets nothing in that opens or adds."""
    if snapshot.kill_level > 0:
        why = snapshot.kill_reason or "no reason given"
        return rejected("KILL_SWITCH", value=snapshot.kill_level, limit=0, message=f"The kill switch is pulled: {why}.")
    return passed("KILL_SWITCH", intent.quantity, value=0, limit=0, message="The kill switch is armed, not pulled.")


def lockdown(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """Only a lockdown keeps an exit in."""
    if snapshot.kill_level >= LOCKDOWN:
        return rejected("LOCKDOWN", value=snapshot.kill_level, limit=LOCKDOWN - 1, message="Lockdown: nothing leaves.")
    return passed("LOCKDOWN", intent.quantity, value=snapshot.kill_level, limit=LOCKDOWN - 1, message="No lockdown.")


def broker_health(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """Signed in, an engine that runs, a breaker that is closed, books that agree: else the one that is missing."""
    if snapshot.auth_state != "AUTHENTICATED":
        return rejected(
            "BROKER_AUTH", value=snapshot.auth_state, limit="AUTHENTICATED", message="Not signed in at the broker."
        )
    if not snapshot.engine_ready:
        return rejected(
            "ENGINE_READY", value=snapshot.engine_cause, limit="RUNNING", message=f"The engine {snapshot.engine_cause}."
        )
    if snapshot.breaker_open:
        message = f"The broker's circuit breaker is open: {snapshot.breaker_cause}."
        return rejected("BROKER_BREAKER", value="open", limit="closed", message=message)
    if not snapshot.reconciled:
        message = f"Our books and the broker's do not agree: {snapshot.reconciliation_cause}."
        return rejected("RECONCILIATION", value="not clean", limit="clean", message=message)
    return passed("BROKER_AUTH", intent.quantity, value="AUTHENTICATED", message="Broker and engine are ready.")


def restricted(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """Names the policy forbids, by symbol or by ticker: with a share its futures and options."""
    ticker = intent.symbol.partition(":")[2].rpartition("-")[0]
    if limits.restricted_symbols & {intent.symbol, ticker, intent.underlying} - {""}:
        return rejected("RESTRICTED", value=intent.symbol, message=f"The policy forbids trading in {intent.symbol}.")
    return passed("RESTRICTED", intent.quantity, message="Not on the list of restricted names.")


def already_positioned(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """One trade at a time in one instrument; the opposite side never flips a position. A trade may be added to."""
    if intent.adds and snapshot.symbol_net_quantity * intent.side.sign >= 0:
        held = snapshot.symbol_net_quantity
        return passed("ALREADY_POSITIONED", intent.quantity, value=held, message="Adds to a trade of its side.")
    if snapshot.symbol_net_quantity:
        code = "ALREADY_POSITIONED" if snapshot.symbol_net_quantity * intent.side.sign > 0 else "WOULD_FLIP"
        message = f"{snapshot.symbol_net_quantity:+d} units of {intent.symbol} are held already."
        return rejected(code, value=snapshot.symbol_net_quantity, limit=0, message=message)
    if snapshot.symbol_reserved:
        message = f"An order for {intent.symbol} is under way."
        return rejected("ALREADY_POSITIONED", value="under way", limit=0, message=message)
    return passed("ALREADY_POSITIONED", intent.quantity, value=0, limit=0, message="Nothing held, nothing under way.")


def unknown_outstanding(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """An order whose fate nobody knows may be working: no second one beside it."""
    if snapshot.unknown_outstanding:
        message = f"The broker has not said what became of an order for {intent.symbol}."
        return rejected("UNKNOWN_OUTSTANDING", value=snapshot.unknown_outstanding, limit=0, message=message)
    return passed("UNKNOWN_OUTSTANDING", intent.quantity, value=0, limit=0, message="No order of unknown fate.")


def self_trade(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """Nobody trades with himself: no entry against a working order of the same account."""
    if snapshot.opposite_working:
        message = f"{snapshot.opposite_working} units work on the other side of {intent.symbol} in this account."
        return rejected("SELF_TRADE", value=snapshot.opposite_working, limit=0, message=message)
    return passed("SELF_TRADE", intent.quantity, value=0, limit=0, message="Nothing works on the other side.")


def duplicate(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """The same idea twice in a moment is one idea."""
    window = f"{limits.duplicate_window_s:g} s"
    if intent.repeat_age_s is None:
        return passed("DUPLICATE", intent.quantity, limit=window, message="The first of its kind.")
    age = f"{intent.repeat_age_s:.1f} s"
    if intent.repeat_age_s < limits.duplicate_window_s:
        message = f"The same contract asked for the same {age} ago."
        return rejected("DUPLICATE", value=age, limit=window, message=message)
    return passed("DUPLICATE", intent.quantity, value=age, limit=window, message="Long enough after the last one.")


def order_rate(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """Never refuses: an order waits for its turn in the account's rate, and the verdict says how long."""
    wait = f"{snapshot.order_wait_s:.2f} s"
    words = "Its turn is now." if snapshot.order_wait_s <= 0 else f"It waits {wait} for its turn."
    return passed("ORDER_RATE", intent.quantity, value=wait, limit="8 a second", message=words)
