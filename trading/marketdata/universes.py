"""Who belonged to a list of instruments on a day."""

from datetime import date

from django.db.models import Q

from trading.marketdata.models import Instrument, Universe


def members(universe: Universe, on_date: date) -> list[Instrument]:
    """The active instruments of a universe on an exchange day, by symbol. The last day of a stay still counts."""
    stays = universe.members.filter(Q(to_date__isnull=True) | Q(to_date__gte=on_date), from_date__lte=on_date)
    return list(Instrument.objects.filter(pk__in=stays.values("instrument_id"), active=True).order_by("symbol"))
