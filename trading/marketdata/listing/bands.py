"""The day's price bands: the lowest and the highest price that a venue takes of an instrument."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from trading.marketdata.models import Feed, Instrument, PriceBand

Band = tuple[Decimal, Decimal]


def store_bands(
    feed: Feed, *, session_date: date, bands: Mapping[str, Band], source: str, heard_at: datetime
) -> list[PriceBand]:  # fmt: skip
    """Keep what was heard of a day's bands, by symbol; the rows that are new or other than before.

    What cannot be a band (not positive, upside down) and what is not listed here is left out.
    """
    sound = {symbol: band for symbol, band in bands.items() if 0 < band[0] < band[1]}
    ids = dict(Instrument.objects.filter(symbol__in=sound).values_list("symbol", "pk"))
    known = {
        row.instrument_id: (row.lower, row.upper)
        for row in PriceBand.objects.filter(feed=feed, session_date=session_date, instrument__in=ids.values())
    }
    changed = [
        PriceBand(
            feed=feed, instrument_id=ids[symbol], session_date=session_date, lower=band[0], upper=band[1],
            source=source, heard_at=heard_at,
        )
        for symbol, band in sound.items()
        if symbol in ids and known.get(ids[symbol]) != band
    ]  # fmt: skip
    PriceBand.objects.bulk_create(
        changed, update_conflicts=True, unique_fields=["feed", "instrument", "session_date"],
        update_fields=["lower", "upper", "source", "heard_at"], batch_size=1000,
    )  # fmt: skip
    return changed


def band_of(feed: Feed, instrument: Instrument, session_date: date) -> Band | None:
    """The band of a day as last heard; None: nobody told."""
    return PriceBand.objects.filter(
        feed=feed, instrument=instrument, session_date=session_date
    ).values_list("lower", "upper").first()  # fmt: skip


def bands_between(feed: Feed, instruments: Sequence[Instrument], days: Sequence[date]) -> NDArray[np.float64]:
    """float64[2, instruments, days]: the lower and the upper band of each day in rupees; NaN where nobody told."""
    found = np.full((2, len(instruments), len(days)), np.nan)
    if not days:
        return found
    row_of = {one.pk: row for row, one in enumerate(instruments)}
    day_of = {day: place for place, day in enumerate(days)}
    rows = PriceBand.objects.filter(
        feed=feed, instrument__in=list(row_of), session_date__gte=days[0], session_date__lte=days[-1]
    ).order_by().values_list("instrument_id", "session_date", "lower", "upper")  # fmt: skip
    for pk, day, lower, upper in rows.iterator(chunk_size=10_000):
        if (place := day_of.get(day)) is not None:
            found[:, row_of[pk], place] = float(lower), float(upper)
    return found
