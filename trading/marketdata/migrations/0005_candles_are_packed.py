"""Candles move from a row each into packed blocks; what is stored is carried over and counted before it may be dropped.

The layout written here is layout 1 of `trading/marketdata/packing/blocks.py` as it was on the day of this migration.
"""

import itertools
import math
from datetime import date, datetime, timedelta, timezone

import django.db.models.deletion
from django.db import migrations, models

INDIA = timezone(timedelta(hours=5, minutes=30))
SOURCES = {"STREAM": 1, "HISTORY": 2, "IMPORT": 3}
AT_ONCE = 500


def first_day(day: date, timeframe: int) -> date:
    if timeframe < 5:
        return day
    return day.replace(day=1) if timeframe < 1440 else day.replace(month=1, day=1)


def width(value: int) -> int:
    return next(size for size in (1, 2, 4, 8) if value < 1 << (8 * size))


def packed(rows: list, start_of_block: date) -> tuple[int, int, int, bytes]:
    """Streamed bars, base, unit and bytes of rows (started_at, open, high, low, close, volume, source)."""
    midnight = datetime(start_of_block.year, start_of_block.month, start_of_block.day, tzinfo=INDIA)
    starts = [int((row[0] - midnight).total_seconds()) // 60 for row in rows]
    prices = [[int(row[column] * 10_000) for row in rows] for column in range(1, 5)]
    base = min(prices[2])
    unit = max(1, math.gcd(*(price - base for column in prices for price in column)))
    prices = [[(price - base) // unit for price in column] for column in prices]
    volumes, sources = [row[5] for row in rows], [SOURCES.get(row[6], 3) for row in rows]
    w_start, w_price, w_volume = (2 if starts[-1] < 65_536 else 4), width(max(prices[1])), width(max(volumes))
    whose = sources[0] if len(set(sources)) == 1 else 0
    head = bytes((1, w_start, w_price, w_volume, whose, 0, 0, 0)) + starts[0].to_bytes(4, "little") + bytes(4)
    parts = [(starts, w_start), *((column, w_price) for column in prices), (volumes, w_volume)]
    body = b"".join(value.to_bytes(size, "little") for column, size in parts for value in column)
    return sources.count(1), base, unit, head + body + (bytes(sources) if whose == 0 else b"")


def carry_over(apps, schema_editor):
    Candle = apps.get_model("marketdata", "Candle")
    CandleSeries = apps.get_model("marketdata", "CandleSeries")
    CandleBlock = apps.get_model("marketdata", "CandleBlock")
    columns = ("started_at", "open", "high", "low", "close", "volume", "source")
    keys = ("feed_id", "timeframe", "instrument_id")
    rows = Candle.objects.order_by(*keys, "started_at").values_list(*keys, *columns).iterator(chunk_size=20_000)
    carried, waiting = 0, []
    for (feed, timeframe, instrument), of_series in itertools.groupby(rows, key=lambda row: row[:3]):
        series = CandleSeries.objects.create(feed_id=feed, timeframe=timeframe, instrument_id=instrument)
        newest = None

        def block_of(row, timeframe=timeframe):
            return first_day(row[3].astimezone(INDIA).date(), timeframe)

        for day, of_block in itertools.groupby(of_series, key=block_of):
            bars = [row[3:] for row in of_block]
            streamed, base, unit, raw = packed(bars, day)
            waiting.append(
                CandleBlock(
                    series=series, first_day=day, bars=len(bars), streamed=streamed, base=base, unit=unit, packed=raw
                )
            )
            carried, newest = carried + len(bars), bars[-1][0]
            if len(waiting) == AT_ONCE:
                CandleBlock.objects.bulk_create(waiting)
                waiting.clear()
        series.newest_at = newest
        series.save(update_fields=["newest_at"])
    CandleBlock.objects.bulk_create(waiting)
    there = Candle.objects.count()
    stored = CandleBlock.objects.aggregate(bars=models.Sum("bars"))["bars"] or 0
    if not carried == there == stored:
        raise RuntimeError(f"{there} candles, but {carried} were read and {stored} stored: nothing was changed")


class Migration(migrations.Migration):
    dependencies = [("marketdata", "0004_listings_by_date")]

    operations = [
        migrations.CreateModel(
            name="CandleSeries",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("timeframe", models.PositiveSmallIntegerField(help_text="minutes; 1440 is a day")),
                ("revision", models.BigIntegerField(default=0)),
                ("newest_at", models.DateTimeField(help_text="start of the newest candle", null=True)),
                (
                    "feed",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+",
                        to="marketdata.feed",
                    ),
                ),
                (
                    "instrument",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="marketdata.instrument"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "candle series",
                "constraints": [
                    models.UniqueConstraint(fields=("feed", "timeframe", "instrument"), name="series_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="CandleBlock",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("first_day", models.DateField()),
                ("bars", models.IntegerField()),
                ("streamed", models.IntegerField(default=0, help_text="bars made of our own ticks")),
                ("untrusted", models.IntegerField(default=0, help_text="bars that nothing is traded on")),
                ("base", models.BigIntegerField()),
                ("unit", models.BigIntegerField()),
                ("packed", models.BinaryField()),
                (
                    "series",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="blocks",
                        to="marketdata.candleseries",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("series", "first_day"), include=("bars", "streamed", "untrusted"), name="block_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("bars__gt", 0), ("base__gt", 0), ("streamed__gte", 0),
                            ("streamed__lte", models.F("bars")), ("unit__gt", 0), ("untrusted__gte", 0),
                            ("untrusted__lte", models.F("bars")),
                        ),
                        name="block_makes_sense",
                    ),
                ],
            },
        ),
        # A day of minutes fits into a page: kept there it is read without a second look-up, and changed without two.
        migrations.RunSQL(
            [
                "ALTER TABLE marketdata_candleblock ALTER packed SET STORAGE MAIN",
                "ALTER TABLE marketdata_candleblock SET (toast_tuple_target = 8160, autovacuum_vacuum_scale_factor = 0.05)",
            ],
            migrations.RunSQL.noop,
        ),
        migrations.RunPython(carry_over),
    ]  # fmt: skip
