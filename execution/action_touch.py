"""What a corporate action of an instrument touches: what is held of it, open trades, strategies that watch it."""

from dataclasses import dataclass
from datetime import date

from django.db.models import Q

from execution.models import Group
from strategies.models import Deployment
from trading.marketdata.models import Instrument, UniverseMember
from trading.portfolio.models import Position


@dataclass(frozen=True, slots=True)
class Touched:
    """`what`: POSITION, TRADE or STRATEGY; `told`: which one, whose, and how much, for an operator."""

    what: str
    told: str


def touched_by(instrument: Instrument, *, on: date) -> list[Touched]:
    """All of everybody. Nothing of it is changed by an action: prices of stops and targets, and what is held, are the
    owners' to look at on the ex-date."""
    found = [
        Touched("POSITION", f"{one.portfolio}: {one.net_quantity:+,} {one.product}")
        for one in Position.objects.filter(instrument=instrument).exclude(net_quantity=0)
        .select_related("portfolio").order_by("portfolio__name")
    ]  # fmt: skip
    open_trades = Group.objects.filter(instrument=instrument).exclude(state=Group.State.CLOSED)
    for group in open_trades.select_related("portfolio").order_by("pk"):
        levels = [f"{word} {price.normalize():f}" for word, price in (("stop", group.stop_price),
                  ("target", group.target_price)) if price is not None]  # fmt: skip
        told = f"{group.portfolio}: {group.side.lower()} {group.get_state_display()}"
        found.append(Touched("TRADE", ", ".join([told, *levels])))
    stays = UniverseMember.objects.filter(
        Q(to_date__isnull=True) | Q(to_date__gte=on), instrument=instrument, from_date__lte=on
    )
    watching = Deployment.objects.at_work().filter(universe__in=stays.values("universe"))
    for one in watching.select_related("portfolio", "version__contract", "universe").order_by("pk"):
        found.append(Touched("STRATEGY", f"{one.portfolio}: {one}"))
    return found
