"""Candles as they are kept: a series, its blocks, and what of it was asked for."""

from django.db import models

from trading.marketdata.models.feed import Feed
from trading.marketdata.models.instrument import Instrument


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
    """The candles of a series in one stretch of exchange days, packed (`marketdata/packing/blocks.py` says how).

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
