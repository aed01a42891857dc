"""A stop is drawn closer, never further away: by a contract's trailing, or because its portfolio turned DEFENSIVE.

A trailing stop is watched by the engine, and the one at the broker stays where it is: it would be changed at every bar.
What a drawdown draws closer is watched at once and moved at the broker too, once, by the trade's own step
(`group_advance`): that loss must not grow while nobody watches. It is not moved back when the drawdown is over.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import Min

from execution.models import Group
from risk.drawdown import DrawdownStep, tightened_stop
from risk.models import DrawdownState
from risk.policies import active_policy
from trading.audit.record import record
from trading.domain.formatting import price as shown
from trading.domain.money import to_tick
from trading.domain.orders import Reason, Side
from trading.outbox import after_commit
from trading.realtime.publish import publish


def stops_tighten(*, account_id: int, now: datetime) -> int:
    """Draw the stops of what was asked for before its portfolio turned DEFENSIVE to their smaller distance.

    What was asked for since then began with it. The distance is measured from the entry to the stop that the trade
    began with: asked again it is the same, so that whoever is killed in between finds the rest to do and nothing twice.
    Returns how many stops moved.
    """
    moved = 0
    states = DrawdownState.objects.filter(portfolio__account_id=account_id, step=DrawdownStep.DEFENSIVE)
    for state in states.select_related("portfolio"):
        share = active_policy(state.portfolio_id).defensive_stop_pct
        held = (
            Group.objects.filter(portfolio=state.portfolio, state__in=Group.HELD, close_reason="")
            .filter(stop_price__isnull=False).annotate(asked_at=Min("intents__venue_at"))
            .filter(asked_at__lt=state.step_since).order_by("pk")
        )  # fmt: skip
        for group_id in held.values_list("pk", flat=True):
            moved += _tighten(group_id, share)
    return moved


@transaction.atomic
def _tighten(group_id, share: Decimal) -> bool:
    group = Group.objects.select_for_update(of=("self",)).select_related("portfolio", "instrument").get(pk=group_id)
    entry = average_entry(group)
    if entry is None or group.stop_price is None:
        return False
    side = Side(group.side)
    if (entry - group.stop_price) * side.sign <= 0:
        return False  # it stands where the trade has gained: nearer to the entry would be further away
    exact = tightened_stop(DrawdownStep.DEFENSIVE, entry=entry, stop=group.stop_price, share_pct=share)
    nearer = to_tick(exact, tick=group.instrument.tick_size, side=side)
    if (nearer - (group.resting_stop or group.stop_price)) * side.sign <= 0:
        return False
    before = group.trail_price
    Group.objects.filter(pk=group.pk).update(resting_stop=nearer)
    draw_closer(group, nearer)  # unless a trailing stop is nearer already
    after_commit("engine.group", account_id=group.portfolio.account_id, group_id=str(group.pk))
    record(
        "stop.tightened", actor="risk", owner_id=group.portfolio.owner_id, subject=str(group.pk),
        instrument=group.instrument.symbol, stop=shown(group.stop_price), nearer=shown(nearer),
        watched=shown(group.trail_price),
        watched_before=shown(before) if before else "", share_pct=str(share),
    )  # fmt: skip
    return True


@transaction.atomic
def draw_closer(group: Group, stop: Decimal) -> bool:
    """Watch a stop of a trade from now on; False where it is no nearer than what is watched, or than the broker's."""
    side = Side(group.side)
    known = Group.objects.select_for_update(of=("self",)).get(pk=group.pk)
    nearest = [one for one in (known.trail_price, known.stop_price) if one is not None]
    if any((stop - one) * side.sign <= 0 for one in nearest):
        return False
    Group.objects.filter(pk=group.pk).update(trail_price=stop)
    group.trail_price = stop
    publish(group.portfolio.owner_id, "position", group=str(group.pk), state=known.state)
    return True


def average_entry(group: Group) -> Decimal | None:
    """What was paid on average for what was opened, rupees; None where nothing was."""
    filled: Iterable[tuple[int, int]] = group.orders.filter(reason=Reason.ENTRY).values_list(
        "filled_quantity", "fill_value_paise"
    )
    quantity, value = (sum(part) for part in zip(*filled, strict=True)) if filled else (0, 0)
    return Decimal(value) / 100 / quantity if quantity else None
