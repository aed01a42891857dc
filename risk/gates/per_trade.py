"""Is this one order sound, and how much may it lose?"""

from dataclasses import replace
from decimal import Decimal

from risk.gates.finding import Finding, Limits, Snapshot, passed, plain, rejected, up_to
from trading.domain.money import to_paise
from trading.domain.orders import OrderIntent, Product, Side


def sanity(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """Whole lots of something tradable at a price on the tick."""
    if not intent.tradable:
        return rejected("NOT_TRADABLE", value=intent.symbol, message=f"{intent.symbol} cannot be traded.")
    if intent.product is Product.CNC and intent.side is Side.SELL:
        message = "What is sold for delivery must be held: this would be short at the auction."
        return rejected("SHORT_DELIVERY", value=intent.product, message=message)
    if intent.quantity < 1 or intent.quantity % intent.lot_size:
        return rejected(
            "LOT_SIZE", value=intent.quantity, limit=intent.lot_size, message=f"The lot is {intent.lot_size}."
        )
    if intent.price <= 0 or intent.price % intent.tick_size:
        message = f"{intent.price} is not on the tick of {intent.tick_size}."
        return rejected("TICK_SIZE", value=intent.price, limit=intent.tick_size, message=message)
    return passed("SANITY", intent.quantity, value=intent.price, limit=intent.tick_size, message="On tick, whole lots.")


def stop_required(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """Nothing is opened without knowing where it is wrong, and that place lies on the losing side."""
    if intent.stop_price is None:
        if limits.stop_required:
            return rejected("STOP_REQUIRED", value="none", limit="a stop", message="An entry needs a stop.")
        return passed("STOP_REQUIRED", intent.quantity, message="The policy asks for no stop.")
    # A limit beyond the market trades at the market: the stop must lie behind that as well, or it is hit at once.
    prices = [one for one in (intent.price, snapshot.last_price) if one]
    worst = min(prices, default=Decimal(0)) if intent.side is Side.BUY else max(prices, default=Decimal(0))
    wrong_side = (worst - intent.stop_price) * intent.side.sign <= 0
    if wrong_side or intent.stop_price <= 0 or intent.stop_price % intent.tick_size:
        message = f"A stop at {intent.stop_price} does not protect a {intent.side.value.lower()} at {worst}."
        return rejected("STOP_REQUIRED", value=intent.stop_price, limit=intent.price, message=message)
    return passed("STOP_REQUIRED", intent.quantity, value=intent.stop_price, message=f"Stop at {intent.stop_price}.")


MEAN_REVERSION = "mean_reversion"


def risk_share(family: str, limits: Limits) -> Decimal:
    """Percent of equity one trade of this family of ideas may lose; never above the cap."""
    share = limits.risk_mean_reversion_pct if family == MEAN_REVERSION else limits.risk_per_trade_pct
    return min(share, limits.risk_cap_pct)


def risk_per_trade(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """The loss at the stop stays within its share of equity."""
    if intent.stop_price is None:
        return passed("RISK_PER_TRADE", intent.quantity, message="No stop, no distance to it.")
    share = risk_share(intent.family, limits)
    what = f"{plain(share)} % of equity at risk"
    return _within_budget("RISK_PER_TRADE", int(snapshot.equity_paise * share / 100), intent, what=what)


def position_risk(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """All that is at risk in one instrument, with what is held already, stays below the cap."""
    if intent.stop_price is None:
        return passed("POSITION_RISK", intent.quantity, message="No stop, no distance to it.")
    budget = int(snapshot.equity_paise * limits.risk_cap_pct / 100) - snapshot.symbol_risk_paise
    what = f"{plain(limits.risk_cap_pct)} % of equity at risk in one position"
    return _within_budget("POSITION_RISK", budget, intent, what=what)


def _within_budget(gate: str, budget_paise: int, intent: OrderIntent, *, what: str) -> Finding:
    distance = to_paise(abs(intent.price - intent.stop_price)) if intent.stop_price is not None else 0
    room = budget_paise // distance if distance and budget_paise > 0 else 0
    return up_to(gate, room, intent, limit=f"₹{budget_paise / 100:.0f}", what=what)


_COUNTED = "It adds to a trade that is counted."


def trades_per_day(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    most = limits.max_trades_per_day
    if intent.adds:
        return passed("TRADES_PER_DAY", intent.quantity, limit=most, message=_COUNTED)
    if snapshot.trades_today >= most:
        message = f"{snapshot.trades_today} entries today already."
        return rejected("TRADES_PER_DAY", value=snapshot.trades_today, limit=most, message=message)
    return passed(
        "TRADES_PER_DAY", intent.quantity, value=snapshot.trades_today, limit=most, message="Entries left today."
    )


def open_positions(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    most = limits.max_open_positions
    if intent.adds:
        return passed("OPEN_POSITIONS", intent.quantity, limit=most, message=_COUNTED)
    if snapshot.slots_taken >= most:
        message = f"{snapshot.slots_taken} of {most} positions are taken."
        return rejected("OPEN_POSITIONS", value=snapshot.slots_taken, limit=most, message=message)
    return passed("OPEN_POSITIONS", intent.quantity, value=snapshot.slots_taken, limit=most, message="A slot is free.")


def strategy_positions(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """One strategy may not take every slot."""
    most = limits.max_strategy_positions
    if not intent.strategy:
        return passed("STRATEGY_POSITIONS", intent.quantity, limit=most, message="Asked for by hand.")
    taken = snapshot.strategy_slots_taken
    if intent.adds:
        return passed("STRATEGY_POSITIONS", intent.quantity, limit=most, message=_COUNTED)
    if taken >= most:
        message = f"{taken} of the {most} positions of this strategy are taken."
        return rejected("STRATEGY_POSITIONS", value=taken, limit=most, message=message)
    return passed("STRATEGY_POSITIONS", intent.quantity, value=taken, limit=most, message="A slot is free.")


def reduces_only(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """An exit is never larger than what is held, and never on the same side."""
    held = snapshot.symbol_net_quantity
    if held * intent.side.sign >= 0:
        return rejected("REDUCE_ONLY", value=held, message="There is nothing to reduce on this side.")
    # In units, not in lots: a part of a lot that is held must be able to leave.
    whole = replace(intent, lot_size=1)
    return up_to("REDUCE_ONLY", abs(held), whole, limit=abs(held), what="what is held")
