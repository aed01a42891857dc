"""Reading instruments by date: whose symbol it was, and which tick, lot and sector held then."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from django.db.models import Q

from trading.domain.instruments import InstrumentSpec
from trading.marketdata.listing.renames import successor
from trading.marketdata.models import FormerIdentity, Instrument, InstrumentTerms, Universe
from trading.venue.precision import index_freeze_days, index_freeze_quantity


@dataclass(frozen=True, slots=True)
class Terms:
    """Tick (rupees), lot and largest single order (units). `assumed`: the day is before the first known row."""

    tick_size: Decimal
    lot_size: int
    freeze_quantity: int | None
    assumed: bool = False


def instrument_named(symbol: str, on_date: date | None = None) -> Instrument | None:
    """Whose symbol this is, or was on a day. A name that was given up finds the instrument under its new name."""
    if on_date is not None:
        former = (
            FormerIdentity.objects.filter(symbol=symbol, until_date__gte=on_date)
            .order_by("until_date")
            .select_related("instrument")
            .first()
        )
        if former is not None:
            return former.instrument
    found = Instrument.objects.filter(symbol=symbol).first()
    if found is not None:
        return found
    former = FormerIdentity.objects.filter(symbol=symbol).order_by("-until_date").select_related("instrument").first()
    if former is not None:
        return former.instrument
    renamed = successor(symbol)
    return Instrument.objects.filter(symbol=renamed).first() if renamed != symbol else None


def names_of(instrument: Instrument) -> list[tuple[str, date | None]]:
    """Every symbol an instrument had, newest first: (symbol, last day; None for today's)."""
    former = instrument.former.exclude(symbol=instrument.symbol).order_by("-until_date")
    return [(instrument.symbol, None), *former.values_list("symbol", "until_date")]


def terms_on(instrument: Instrument, day: date) -> Terms:
    """Tick, lot and freeze of an instrument on an exchange day.

    Before the first row that is known the earliest stands in and says so; where the master names no largest order,
    the exchange's monthly table for index contracts does.
    """
    return terms_of([instrument], day)[instrument.pk]


def terms_of(instruments: Iterable[Instrument], day: date) -> dict[int, Terms]:
    """`terms_on` for many, by instrument id."""
    wanted = list(instruments)
    rows = _terms_rows(wanted)
    return {one.pk: _terms_then(one, rows.get(one.pk, []), day) for one in wanted}


def terms_between(instruments: Iterable[Instrument], first: date, last: date) -> list[tuple[date, dict[int, Terms]]]:
    """`terms_of` the first day, and of every later day up to `last` from which they are other ones; rising."""
    wanted = list(instruments)
    rows = _terms_rows(wanted)
    days = {row.from_date for found in rows.values() for row in found}
    for name in {one.underlying_name for one in wanted if one.is_derivative}:
        days |= set(index_freeze_days(name))
    found: list[tuple[date, dict[int, Terms]]] = []
    for day in (first, *sorted(one for one in days if first < one <= last)):
        terms = {one.pk: _terms_then(one, rows.get(one.pk, []), day) for one in wanted}
        if not found or any(_numbers(terms[pk]) != _numbers(before) for pk, before in found[-1][1].items()):
            found.append((day, terms))
    return found


def _numbers(terms: Terms) -> tuple[Decimal, int, int | None]:
    return terms.tick_size, terms.lot_size, terms.freeze_quantity


def _terms_rows(instruments: list[Instrument]) -> dict[int, list[InstrumentTerms]]:
    """Rows by instrument id, rising."""
    rows: dict[int, list[InstrumentTerms]] = {}
    for row in InstrumentTerms.objects.filter(instrument__in=instruments).order_by("from_date"):
        rows.setdefault(row.instrument_id, []).append(row)
    return rows


def _terms_then(instrument: Instrument, rows: list[InstrumentTerms], day: date) -> Terms:
    held = [row for row in rows if row.from_date <= day]
    said: InstrumentTerms | Instrument = held[-1] if held else rows[0] if rows else instrument
    freeze = said.freeze_quantity
    if freeze is None and instrument.is_derivative:
        freeze = index_freeze_quantity(instrument.underlying_name, on_date=day)
    return Terms(said.tick_size, said.lot_size, freeze, assumed=not held)


def spec_on(instrument: Instrument, day: date) -> InstrumentSpec:
    """`Instrument.spec` as it was on an exchange day."""
    terms = terms_on(instrument, day)
    return InstrumentSpec(
        symbol=instrument.symbol, tick_size=terms.tick_size, lot_size=terms.lot_size,
        freeze_quantity=terms.freeze_quantity, lower_band=None, upper_band=None, segment=instrument.segment,
    )  # fmt: skip


def sector_on(instrument: Instrument, day: date) -> str:
    """The sector an instrument was counted to on a day; empty where nobody said."""
    stay = (
        instrument.sector_stays.filter(Q(to_date__isnull=True) | Q(to_date__gte=day), from_date__lte=day)
        .order_by("-from_date")
        .first()
    )
    return stay.sector if stay is not None else ""


def had_derivatives_on(instrument: Instrument, day: date) -> bool:
    """Whether futures or options on it were listed on a day. Before the first contract master: as today."""
    universe = Universe.objects.filter(name=f"{instrument.exchange.lower()}-fno-underlyings").first()
    stays = universe.members.all() if universe else None
    if stays is None or not stays.filter(from_date__lte=day).exists():
        return instrument.has_derivatives
    return stays.filter(
        Q(to_date__isnull=True) | Q(to_date__gte=day), instrument=instrument, from_date__lte=day
    ).exists()


def contracts_of(underlying_name: str, *, expiry: date, exchange: str = "NSE") -> list[Instrument]:
    """Futures and options of one expiry, by strike and type, as far as they are listed."""
    rows = Instrument.objects.filter(underlying_name=underlying_name, expiry=expiry, exchange=exchange)
    return list(rows.order_by("strike", "option_type", "symbol"))


def expiries_of(underlying_name: str, *, from_date: date, exchange: str = "NSE") -> list[date]:
    """Days on which listed contracts expire, from a day on, rising."""
    rows = Instrument.objects.filter(
        underlying_name=underlying_name, exchange=exchange, expiry__gte=from_date, active=True
    )
    return sorted(set(rows.order_by().values_list("expiry", flat=True)) - {None})  # type: ignore[type-var, arg-type]
