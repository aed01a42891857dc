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
    """Signed in at the broker, and an engine that runs."""
    if snapshot.auth_state != "AUTHENTICATED":
        return rejected(
            "BROKER_AUTH", value=snapshot.auth_state, limit="AUTHENTICATED", message="Not signed in at the broker."
        )
    if not snapshot.engine_ready:
        return rejected(
            "ENGINE_READY", value=snapshot.engine_cause, limit="RUNNING", message=f"The engine {snapshot.engine_cause}."
        )
    return passed("BROKER_AUTH", intent.quantity, value="AUTHENTICATED", message="Broker and engine are ready.")


def already_positioned(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """One trade at a time in one instrument; the opposite side never flips a position."""
    if snapshot.symbol_net_quantity:
        code = "ALREADY_POSITIONED" if snapshot.symbol_net_quantity * intent.side.sign > 0 else "WOULD_FLIP"
        message = f"{snapshot.symbol_net_quantity:+d} units of {intent.symbol} are held already."
        return rejected(code, value=snapshot.symbol_net_quantity, limit=0, message=message)
    if snapshot.symbol_reserved:
        message = f"An order for {intent.symbol} is under way."
        return rejected("ALREADY_POSITIONED", value="under way", limit=0, message=message)
    return passed("ALREADY_POSITIONED", intent.quantity, value=0, limit=0, message="Nothing held, nothing under way.")
