from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

import factory

from trading.marketdata.builder import Bar
from trading.marketdata.candles import IMPORT, store_bars
from trading.marketdata.marks import Mark
from trading.marketdata.models import Feed, Instrument, Universe


class FeedFactory(factory.django.DjangoModelFactory):
    """A feed whose venue time is wall time, unless an anchor is given."""

    class Meta:
        model = Feed
        django_get_or_create = ("name",)

    name = "sandbox"
    kind = Feed.Kind.SANDBOX


class InstrumentFactory(factory.django.DjangoModelFactory):
    """A share with a tick of five paise."""

    class Meta:
        model = Instrument
        django_get_or_create = ("symbol",)

    symbol = factory.Sequence(lambda n: f"NSE:STOCK{n}-EQ")
    name = factory.LazyAttribute(lambda instrument: f"{instrument.symbol} Limited")
    sector = "Banks"
    tick_size = Decimal("0.05")


class UniverseFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Universe
        django_get_or_create = ("name",)

    name = "NIFTY 50"


def stored_candles(
    feed: Feed, instrument: Instrument, starts: Iterable[datetime], rows: Iterable[Sequence[float | str | Decimal]],
    *, timeframe: int = 1, volume: int = 100, source: str = IMPORT, mark: Mark = Mark.NONE,
) -> int:  # fmt: skip
    """Store candles given as (open, high, low, close), or as (open, high, low, close, volume); how many were new."""
    bars = [
        Bar(
            instrument.symbol, start, _price(row[0]), _price(row[1]), _price(row[2]), _price(row[3]),
            int(row[4]) if len(row) > 4 else volume, mark=mark,
        )
        for start, row in zip(starts, rows, strict=True)
    ]  # fmt: skip
    return store_bars(feed, timeframe, bars, source)


def _price(given: float | str | Decimal) -> Decimal:
    return Decimal(str(given))
