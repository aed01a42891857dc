from decimal import Decimal

import factory

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
