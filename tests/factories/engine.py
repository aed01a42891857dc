"""The signal engine in the middle of its work: trades in every state, legs filled, resting and blocked, a queue."""

from datetime import timedelta
from decimal import Decimal

from django.utils import timezone

from execution.engine_settings import publish_ladder, publish_settings, settings_of
from execution.models import Group, Leg, PartExit, Pyramid, QueuedSignal
from strategies.tactics.ladder import plan_legs
from tests.factories.execution import GroupFactory, IntentFactory, OrderFactory
from tests.factories.market import InstrumentFactory
from tests.factories.portfolio import PositionFactory
from tests.factories.strategies import SignalFactory
from tests.factories.world import World, quote
from trading.domain.money import to_paise
from trading.domain.orders import Side


def hook_signal(portfolio, instrument, **changes):
    """A signal of a hook, accepted unless said otherwise."""
    given = {"source": "HOOK", "deployment": None, "state": "ACCEPTED", "timeframe": "15m", "explanation": "DCA 1"}
    return SignalFactory(portfolio=portfolio, instrument=instrument, **given | changes)


def add_pyramid(group: Group, *, index: int, entry: str, quantity: int, filled: int, blocked: int = 0) -> Pyramid:
    """A pyramid whose first `filled` legs are filled, whose last `blocked` were refused, and whose others rest."""
    signal = group.signal if index == 0 else hook_signal(group.portfolio, group.instrument, side=group.side)
    pyramid = Pyramid.objects.create(
        group=group, index=index, signal=signal, entry_price=Decimal(entry), quantity=quantity,
        created_at=timezone.now(),
    )  # fmt: skip
    tick, lot = group.instrument.tick_size, group.instrument.lot_size
    legs = plan_legs(Side(group.side), Decimal(entry), quantity, group.ladder.rungs_for(index), tick=tick, lot=lot)
    for plan in legs:
        leg = Leg.objects.create(
            pyramid=pyramid, index=plan.index, gap_pct=plan.rung.gap_pct, weight_pct=plan.rung.weight_pct,
            take_profit_pct=plan.rung.take_profit_pct, limit_price=plan.limit_price, quantity=plan.quantity,
        )  # fmt: skip
        if plan.index >= len(legs) - blocked:
            leg.blocked_code, leg.blocked = "MARGIN", "The margin does not pay for it: ₹41,200 needed, ₹18,650 free."
            leg.retry_at = timezone.now() + timedelta(seconds=30)
            leg.save()
            continue
        done = plan.index < filled
        intent = IntentFactory(
            group=group, leg=leg, limit_price=plan.limit_price, wanted_quantity=plan.quantity, source="SIGNAL"
        )
        OrderFactory(
            intent=intent, state="FILLED" if done else "OPEN", filled_quantity=plan.quantity if done else 0,
            fill_value_paise=to_paise(plan.limit_price * plan.quantity) if done else 0,
        )  # fmt: skip
    return pyramid


def ladder_trade(
    world: World, ticker: str, *, side: str = "BUY", entry: str, last: str, state: str = "PARTIAL", **pyramid: int
) -> Group:
    """A trade built up by the default ladder, with its position and its price."""
    instrument = InstrumentFactory(symbol=f"NSE:{ticker}-EQ", name=f"{ticker.title()} Limited")
    portfolio = world.portfolio
    group = GroupFactory(
        portfolio=portfolio, instrument=instrument, side=side, state=state, timeframe="15m",
        signal=hook_signal(portfolio, instrument, side=side), ladder=settings_of(portfolio.pk).ladder,
        stop_price=Decimal(entry) * Decimal("0.97"), target_price=None,
    )  # fmt: skip
    add_pyramid(group, index=0, entry=entry, **{"quantity": 100, "filled": 2} | pyramid)
    orders = [one for one in group.orders.all() if one.filled_quantity]
    held = sum(one.filled_quantity for one in orders) * Side(side).sign
    if held:
        cost = sum(one.fill_value_paise for one in orders) * Side(side).sign
        PositionFactory(portfolio=portfolio, instrument=instrument, net_quantity=held, cost_paise=cost)
    quote(world.feed, instrument, last)
    return group


def waiting(world: World, ticker: str, *, side: str = "BUY", entry: str = "100.00", **changes) -> QueuedSignal:
    """A signal in the queue, for a slot unless said otherwise."""
    instrument = InstrumentFactory(symbol=f"NSE:{ticker}-EQ", name=f"{ticker.title()} Limited")
    wall = timezone.now()
    given = {"cause": "POOL_FULL", "enqueued_at": wall, "expires_at": wall + timedelta(minutes=42)} | changes
    signal = hook_signal(world.portfolio, instrument, side=side, state="QUEUED", entry=Decimal(entry))
    return QueuedSignal.objects.create(
        portfolio=world.portfolio, instrument=instrument, side=side, signal=signal, entry_price=Decimal(entry), **given
    )


def engine_at_work(world: World) -> list[Group]:
    """Three slots, four trades (one was forced in), three who wait and one whose wait is over."""
    portfolio = world.portfolio
    publish_ladder(portfolio=portfolio, name="Quick", rungs=[
        {"gap_pct": "0", "weight_pct": "70", "take_profit_pct": "0.8"},
        {"gap_pct": "-0.4", "weight_pct": "30", "take_profit_pct": "1.2"},
    ], stop_pct="1.5", actor=world.user.username)  # fmt: skip
    publish_settings(portfolio=portfolio, values={"max_open_groups": 3}, actor=world.user.username)
    publish_settings(
        portfolio=portfolio, values={"take_profit": "HYBRID", "aggregate_target_pct": "2"}, actor=world.user.username
    )
    first = ladder_trade(world, "TATASTEEL", entry="161.40", last="162.05", quantity=1500, filled=3)
    add_pyramid(first, index=1, entry="160.10", quantity=1200, filled=1)
    leg = Leg.objects.get(pyramid__group=first, pyramid__index=0, index=1)
    PartExit.objects.create(
        group=first, leg=leg, key="tp:1", reason="TARGET", quantity=leg.quantity, limit_price=Decimal("161.40"),
        rests=True, state="ASKED", actor="the engine", created_at=timezone.now(),
    )  # fmt: skip
    second = ladder_trade(world, "AXISBANK", side="SELL", entry="1120.00", last="1114.55", filled=1, blocked=1)
    third = ladder_trade(world, "ITC", entry="431.00", last="428.75", state="ACTIVE", filled=5)
    fourth = ladder_trade(world, "WIPRO", entry="512.30", last="512.30", state="LIVE", filled=0)
    waiting(world, "MARUTI", entry="12480.00", rank=1, rank_reason="the market is 1.24 % beyond its entry")
    waiting(world, "LT", entry="3610.00", rank=2, rank_reason="replaced 3 times", replacement_count=3)
    waiting(world, "ITC2", side="SELL", entry="430.00", rank=3, rank_reason="comes after all others", cause="NOT_FLAT")
    over = waiting(world, "CIPLA", entry="1502.00")
    over.state, over.said, over.ended_at = "EXPIRED", "No slot came free while it could wait.", timezone.now()
    over.save()
    return [first, second, third, fourth]
