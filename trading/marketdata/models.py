"""Instruments, candles, and the feeds they come from."""

from django.db import models

from trading.domain.clock import VirtualClock
from trading.domain.instruments import InstrumentSpec


class Feed(models.Model):
    """One source of prices with its own time: the exchange, a sandbox session, a replayed day.

    Prices of different feeds never mix: a simulated candle must not decide a real trade.
    """

    class Kind(models.TextChoices):
        EXCHANGE = "EXCHANGE"
        SANDBOX = "SANDBOX"
        REPLAY = "REPLAY"

    name = models.CharField(max_length=32, unique=True)
    kind = models.CharField(max_length=8, choices=Kind)
    anchored_at = models.DateTimeField(null=True, help_text="wall time of the last clock reading; empty: real time")
    venue_at = models.DateTimeField(null=True, help_text="venue time of that reading")
    speed = models.FloatField(default=1.0)
    phase = models.CharField(max_length=20, blank=True)
    session_date = models.DateField(null=True)

    def __str__(self) -> str:
        return self.name

    def clock(self) -> VirtualClock | None:
        """The feed's clock, or None where venue time is wall time."""
        if self.anchored_at is None or self.venue_at is None:
            return None
        return VirtualClock(self.anchored_at, self.venue_at, self.speed)


class Instrument(models.Model):
    """Something that can be traded, or an index that can be watched."""

    symbol = models.CharField(max_length=60, unique=True, help_text="NSE:SBIN-EQ")
    name = models.CharField(max_length=120)
    exchange = models.CharField(max_length=8, default="NSE")
    segment = models.CharField(max_length=8, default="CM")
    instrument_type = models.CharField(max_length=12, default="EQ", help_text="EQ, ETF, INDEX, FUTIDX, OPTSTK …")
    fy_token = models.CharField(max_length=24, blank=True, help_text="FYERS: fytoken")
    kite_token = models.CharField(max_length=24, blank=True, help_text="Zerodha: instrument_token")
    exchange_token = models.CharField(max_length=16, blank=True)
    isin = models.CharField(max_length=12, blank=True)
    sector = models.CharField(max_length=60, blank=True)
    tick_size = models.DecimalField(max_digits=8, decimal_places=4)
    lot_size = models.PositiveIntegerField(default=1)
    freeze_quantity = models.PositiveIntegerField(null=True)
    has_derivatives = models.BooleanField(default=False)
    underlying = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="contracts")
    underlying_name = models.CharField(max_length=40, blank=True, help_text="of a contract: NIFTY")
    expiry = models.DateField(null=True)
    strike = models.DecimalField(max_digits=14, decimal_places=4, null=True)
    option_type = models.CharField(max_length=2, blank=True, help_text="CE, PE")
    active = models.BooleanField(default=True)
    listed_from = models.DateField(null=True, help_text="day of the first master that had it")
    master_date = models.DateField(null=True)

    class Meta:
        ordering = ["symbol"]
        indexes = [
            models.Index(
                fields=["underlying_name", "expiry", "strike"], name="contracts_of",
                condition=models.Q(expiry__isnull=False),
            ),
            models.Index(fields=["isin"], name="instrument_by_isin", condition=~models.Q(isin="")),
            models.Index(fields=["fy_token"], name="instrument_by_fy_token", condition=~models.Q(fy_token="")),
        ]  # fmt: skip

    def __str__(self) -> str:
        return self.symbol

    @property
    def ticker(self) -> str:
        """The short name a trader says: SBIN, NIFTY26AUG24000CE."""
        listed = self.symbol.partition(":")[2]
        if self.is_derivative:
            return listed
        return listed.rpartition("-")[0] or self.symbol

    @property
    def is_derivative(self) -> bool:
        """A future or an option: it has an expiry and trades in lots."""
        return self.segment == "FO"

    @property
    def is_tradable(self) -> bool:
        return self.active and self.instrument_type != "INDEX"

    @property
    def spec(self) -> InstrumentSpec:
        return InstrumentSpec(
            symbol=self.symbol,
            tick_size=self.tick_size,
            lot_size=self.lot_size,
            freeze_quantity=self.freeze_quantity,
            lower_band=None,
            upper_band=None,
            segment=self.segment,
        )


class Universe(models.Model):
    """A named list of instruments, with the days on which each belonged to it."""

    name = models.CharField(max_length=60, unique=True)
    description = models.CharField(max_length=200, blank=True)

    def __str__(self) -> str:
        return self.name


class UniverseMember(models.Model):
    """One instrument's stay in a universe. An open end means: still in."""

    universe = models.ForeignKey(Universe, on_delete=models.CASCADE, related_name="members")
    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, related_name="memberships")
    from_date = models.DateField()
    to_date = models.DateField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["universe", "instrument", "from_date"], name="member_joined_once")
        ]

    def __str__(self) -> str:
        return f"{self.instrument} in {self.universe}"


class CandleSeries(models.Model):
    """All stored candles of one instrument in one timeframe of one feed. Who writes candles of a series holds its row.

    `revision` counts how often its past was changed (a filled gap, a corrected bar, a mark): what is kept in memory or
    in files compares it. Candles that only follow the newest one do not change it.
    """

    feed = models.ForeignKey(Feed, on_delete=models.PROTECT, related_name="+", db_index=False)
    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, related_name="+")
    timeframe = models.PositiveSmallIntegerField(help_text="minutes; 1440 is a day")
    revision = models.BigIntegerField(default=0)
    newest_at = models.DateTimeField(null=True, help_text="start of the newest candle")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["feed", "timeframe", "instrument"], name="series_once")]
        verbose_name_plural = "candle series"

    def __str__(self) -> str:
        return f"{self.instrument} {self.timeframe}m"


class CandleBlock(models.Model):
    """The candles of a series in one stretch of exchange days, packed (`trading/marketdata/blocks.py` says how).

    A block begins on `first_day` and holds that day for bars shorter than five minutes, its month for longer ones, its
    year for daily ones. `base` and `unit` are what its prices are counted from and in, ten-thousandths of a rupee.
    """

    series = models.ForeignKey(CandleSeries, on_delete=models.CASCADE, related_name="blocks", db_index=False)
    first_day = models.DateField()
    bars = models.IntegerField()
    streamed = models.IntegerField(default=0, help_text="bars made of our own ticks")
    untrusted = models.IntegerField(default=0, help_text="bars that nothing is traded on")
    base = models.BigIntegerField()
    unit = models.BigIntegerField()
    packed = models.BinaryField()

    class Meta:
        constraints = [
            # The counts lie in the index, so that coverage is read without touching a single bar.
            models.UniqueConstraint(
                fields=["series", "first_day"], include=["bars", "streamed", "untrusted"], name="block_once"
            ),
            models.CheckConstraint(
                condition=models.Q(
                    bars__gt=0, base__gt=0, unit__gt=0, streamed__gte=0, untrusted__gte=0,
                    streamed__lte=models.F("bars"), untrusted__lte=models.F("bars"),
                ),
                name="block_makes_sense",
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.series} from {self.first_day}: {self.bars} bars"


class CandleCoverage(models.Model):
    """A stretch of time for which the history was asked and all it had is stored: what is absent there never was."""

    feed = models.ForeignKey(Feed, on_delete=models.CASCADE, related_name="+")
    instrument = models.ForeignKey(Instrument, on_delete=models.CASCADE, related_name="+")
    timeframe = models.PositiveSmallIntegerField(help_text="minutes")
    from_at = models.DateTimeField()
    to_at = models.DateTimeField(help_text="not included")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["feed", "instrument", "timeframe", "from_at"], name="coverage_once"),
            models.CheckConstraint(condition=models.Q(from_at__lt=models.F("to_at")), name="coverage_goes_forward"),
        ]

    def __str__(self) -> str:
        return f"{self.instrument} {self.timeframe}m {self.from_at:%Y-%m-%d %H:%M} to {self.to_at:%Y-%m-%d %H:%M}"


# Dated facts about instruments have a file of their own; Django looks for them here.
from trading.marketdata.chains import ChainSnapshot  # noqa: E402
from trading.marketdata.dated import (  # noqa: E402
    CalendarDay,
    CalendarYear,
    CorporateAction,
    ExpiryRuleRow,
    FormerIdentity,
    InstrumentChange,
    InstrumentRefresh,
    InstrumentTerms,
    PriceBand,
    QualityDay,
    SectorStay,
    SessionPlan,
)
from trading.marketdata.fetching import Backfill, CandleArchive, HistoryTally  # noqa: E402

__all__ = [
    "Backfill",
    "CalendarDay",
    "CalendarYear",
    "CandleArchive",
    "CandleBlock",
    "CandleCoverage",
    "CandleSeries",
    "ChainSnapshot",
    "CorporateAction",
    "ExpiryRuleRow",
    "Feed",
    "FormerIdentity",
    "HistoryTally",
    "Instrument",
    "InstrumentChange",
    "InstrumentRefresh",
    "InstrumentTerms",
    "PriceBand",
    "QualityDay",
    "SectorStay",
    "SessionPlan",
    "Universe",
    "UniverseMember",
]
