"""Who belonged to a list of instruments on a day, and who joined and left it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from django.db import transaction
from django.db.models import Q

from trading.marketdata.models import Instrument, Universe, UniverseMember


@dataclass(frozen=True, slots=True)
class Moves:
    """Ids of instruments that joined and left a list."""

    joined: tuple[int, ...]
    left: tuple[int, ...]

    def __bool__(self) -> bool:
        return bool(self.joined or self.left)


def members(universe: Universe, on_date: date) -> list[Instrument]:
    """The active instruments of a universe on an exchange day, by symbol. The last day of a stay still counts."""
    stays = universe.members.filter(Q(to_date__isnull=True) | Q(to_date__gte=on_date), from_date__lte=on_date)
    return list(Instrument.objects.filter(pk__in=stays.values("instrument_id"), active=True).order_by("symbol"))


@dataclass(frozen=True, slots=True)
class Gone:
    """A share that a list still names and no master lists any more. `perhaps`: the symbol that a company of the same
    name has today, if there is one; nobody takes it over without a person."""

    universe: str
    instrument_id: int
    symbol: str
    perhaps: str = ""


def gone_members(on_date: date) -> list[Gone]:
    """Members of a day that are out of use: renamed in a way that no master and no list of renames tells, or delisted.

    Contracts that have expired are not among them.
    """
    stays = UniverseMember.objects.filter(
        Q(to_date__isnull=True) | Q(to_date__gte=on_date), from_date__lte=on_date,
        instrument__active=False, instrument__expiry__isnull=True,
    ).select_related("universe", "instrument").order_by("universe__name", "instrument__symbol")  # fmt: skip
    found = []
    for stay in stays:
        one = stay.instrument
        same = Instrument.objects.filter(
            name__iexact=one.name, exchange=one.exchange, instrument_type=one.instrument_type, active=True
        ).values_list("symbol", flat=True)  # fmt: skip
        named = list(same[:2]) if one.name else []
        found.append(Gone(stay.universe.name, one.pk, one.symbol, named[0] if len(named) == 1 else ""))
    return found


UNDATED: Final = date(2000, 1, 1)
"""First day of a list that came without one: it holds from the beginning, and nobody knows since when it is true."""


@dataclass(frozen=True, slots=True)
class Stay:
    """Days, both included, on which an instrument belonged to a universe. `known_since`: the day of the universe's
    first dated list or change, None where there is none. What was on the first list is taken to have been there
    before it."""

    universe: str
    instrument_id: int
    first: date
    last: date
    known_since: date | None


def stays_in(universes: Sequence[str]) -> list[Stay]:
    """Every stay in universes of these names, oldest first."""
    rows = list(
        UniverseMember.objects.filter(universe__name__in=universes)
        .order_by("from_date", "pk")
        .values_list("universe__name", "instrument_id", "from_date", "to_date")
    )
    begins: dict[str, date] = {}
    dated: dict[str, date] = {}
    for name, _, first, last in rows:
        begins.setdefault(name, first)
        days = [day for day in (first, last) if day is not None and day > UNDATED]
        dated[name] = min([*days, dated.get(name, date.max)])
    return [
        Stay(
            name, pk, date.min if first == begins[name] else first, last or date.max,
            None if dated[name] == date.max else dated[name],
        )
        for name, pk, first, last in rows
    ]  # fmt: skip


@transaction.atomic
def set_members(universe: Universe, instrument_ids: Iterable[int], *, day: date) -> Moves:
    """From a day on exactly these belong to a universe: newcomers join, the others' stays end the day before.

    A list of a day before the newest known stay changes the future of what was known then; give lists in order.
    """
    Universe.objects.select_for_update().get(pk=universe.pk)
    wanted = set(instrument_ids)
    open_stays = universe.members.filter(to_date__isnull=True, from_date__lte=day)
    present = set(open_stays.values_list("instrument_id", flat=True))
    joined, left = sorted(wanted - present), sorted(present - wanted)
    leaving = open_stays.filter(instrument_id__in=left)
    leaving.filter(from_date=day).delete()  # joined and left on one day: never was
    leaving.filter(from_date__lt=day).update(to_date=day - timedelta(days=1))
    UniverseMember.objects.bulk_create(
        [UniverseMember(universe=universe, instrument_id=pk, from_date=day) for pk in joined], ignore_conflicts=True
    )
    UniverseMember.objects.filter(universe=universe, instrument_id__in=joined, from_date=day).update(to_date=None)
    return Moves(tuple(joined), tuple(left))
