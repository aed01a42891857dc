"""Stored candles as a download: what `export_candles` writes, for one instrument."""

from datetime import date, datetime, timedelta

from django.http import HttpResponse, StreamingHttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from trading.api.serializers import StrictSerializer
from trading.api.views import DeskEndpoint
from trading.domain.clock import IST
from trading.domain.errors import NotAllowed, NotFound
from trading.marketdata.files.exports import bars_for_export, csv_lines, parquet_bytes
from trading.marketdata.models import Feed, Instrument

LONGEST = timedelta(days=366)  # of minutes in one download


class CandlesAskedSerializer(StrictSerializer):
    symbol = serializers.CharField(max_length=60)
    feed = serializers.CharField(max_length=32, default="NSE")
    timeframe = serializers.IntegerField(min_value=1, max_value=1440, default=1, help_text="minutes; 1440 is a day")
    from_date = serializers.DateField()
    to_date = serializers.DateField(required=False, help_text="included; today where it is left out")
    file = serializers.ChoiceField(choices=("csv", "parquet"), default="csv")

    def validate_from_date(self, day: date) -> date:
        return _possible(day)

    def validate_to_date(self, day: date) -> date:
        return _possible(day)


def _possible(day: date) -> date:
    if not 1990 <= day.year <= 2100:
        raise serializers.ValidationError("No exchange day of which there are candles.")
    return day


class CandlesDownload(DeskEndpoint):
    @extend_schema(
        operation_id="candles_download", tags=["market data"], summary="Stored candles as a file",
        description="CSV (symbol, ts, open, high, low, close, volume, source, marks) or Parquet of the same columns;"
        " a year at most for bars shorter than a day.",
        parameters=[CandlesAskedSerializer],
        responses={(200, "text/csv"): OpenApiTypes.STR, (200, "application/vnd.apache.parquet"): OpenApiTypes.BINARY},
    )  # fmt: skip
    def get(self, request: Request) -> HttpResponse | StreamingHttpResponse:
        given = CandlesAskedSerializer(data=request.query_params.dict())
        given.is_valid(raise_exception=True)
        asked = given.validated_data
        feed = Feed.objects.exclude(kind=Feed.Kind.REPLAY).filter(name=asked["feed"]).first()
        instrument = Instrument.objects.filter(symbol=asked["symbol"]).first()
        if feed is None or instrument is None:
            raise NotFound("CANDLES_NOT_FOUND", "There is no such feed or instrument.")
        first, last = asked["from_date"], asked.get("to_date") or timezone.localdate()
        if asked["timeframe"] < 1440 and last - first >= LONGEST:
            raise NotAllowed("RANGE_TOO_LONG", "A year at most in one download: ask for it in pieces.")
        bars, symbols = bars_for_export(
            feed, [instrument], asked["timeframe"], start=_midnight(first), end=_midnight(last + timedelta(days=1))
        )
        name = f"{instrument.ticker}-{asked['timeframe']}m-{first}-{last}.{asked['file']}"
        if asked["file"] == "csv":
            reply: HttpResponse | StreamingHttpResponse = StreamingHttpResponse(
                csv_lines(bars, symbols), content_type="text/csv; charset=ascii"
            )
        else:
            reply = HttpResponse(parquet_bytes(bars, symbols), content_type="application/vnd.apache.parquet")
        reply["Content-Disposition"] = f'attachment; filename="{name}"'
        return reply


def _midnight(day: date) -> datetime:
    return datetime.combine(day, datetime.min.time(), IST)
