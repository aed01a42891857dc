"""The operators' view of candles: what is stored, what is fetched, and which calls were not needed."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join

from accounts.console import ReadOnlyAdmin, ShallowPaginator
from trading.domain.clock import IST
from trading.marketdata.candles import bars_of_block
from trading.marketdata.clocks import venue_now
from trading.marketdata.fetching.backfill import backfill_cancel
from trading.marketdata.fetching.refused import ask_again
from trading.marketdata.models import Backfill, CandleBlock, CandleSeries, Feed, HistoryTally, RefusedBar

USUAL_TIMEFRAME = 1


class TimeframeFilter(admin.SimpleListFilter):
    title = "timeframe"
    parameter_name = "timeframe"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        minutes = [("1", "1 minute"), ("5", "5 minutes"), ("15", "15 minutes"), ("60", "1 hour")]
        return [*minutes, ("1440", "1 day")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(timeframe=self.value()) if self.value() else queryset


class SeriesTimeframeFilter(TimeframeFilter):
    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(series__timeframe=self.value()) if self.value() else queryset


@admin.register(CandleSeries)
class CandleSeriesAdmin(ReadOnlyAdmin):
    """What is stored of which instrument; its blocks stand under "candle blocks"."""

    list_display = ("instrument", "timeframe", "feed", "newest_at", "revision")
    list_select_related = ("instrument", "feed")
    list_filter = ("feed", TimeframeFilter)
    search_fields = ("=instrument__symbol",)
    search_help_text = "the whole symbol, such as NSE:SBIN-EQ"
    ordering = ("instrument__symbol", "timeframe")


@admin.register(CandleBlock)
class CandleBlockAdmin(ReadOnlyAdmin):
    """The big table, always looked at one feed and one timeframe at a time. A block shows its bars."""

    list_display = ("first_day", "instrument", "timeframe", "bars", "streamed", "untrusted")
    list_select_related = ("series__instrument",)
    list_filter = (("series__feed", admin.RelatedFieldListFilter), SeriesTimeframeFilter)
    search_fields = ("=series__instrument__symbol",)
    search_help_text = "the whole symbol, such as NSE:SBIN-EQ"
    ordering = ("-first_day", "series")
    paginator = ShallowPaginator
    fields = ("series", "first_day", "bars", "streamed", "untrusted", "base", "unit", "candles")
    readonly_fields = fields

    @admin.display(ordering="series__instrument__symbol")
    def instrument(self, block: CandleBlock) -> str:
        return str(block.series.instrument)

    @admin.display(ordering="series__timeframe")
    def timeframe(self, block: CandleBlock) -> str:
        return f"{block.series.timeframe}m"

    @admin.display(description="candles")
    def candles(self, block: CandleBlock) -> str:
        rows = (
            (
                bar.started_at.astimezone(IST).strftime("%d %b %H:%M"),
                *(f"{price:f}" for price in (bar.open, bar.high, bar.low, bar.close)),
                bar.volume, bar.source, bar.mark.name or "" if bar.mark else "",
            )
            for bar in bars_of_block(block)
        )  # fmt: skip
        head = ("start", "open", "high", "low", "close", "volume", "source", "doubts")
        return format_html(
            "<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>",
            format_html_join("", "<th>{}</th>", ((name,) for name in head)),
            format_html_join(
                "", "<tr>{}</tr>", ((format_html_join("", "<td>{}</td>", ((c,) for c in row)),) for row in rows)
            ),
        )

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("series__instrument", "series__feed")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        feed = Feed.objects.order_by("pk").first()
        missing = "series__feed__id__exact" not in request.GET or TimeframeFilter.parameter_name not in request.GET
        if request.method == "GET" and feed is not None and missing:
            asked = request.GET.copy()
            asked.setdefault("series__feed__id__exact", str(feed.pk))
            asked.setdefault(TimeframeFilter.parameter_name, str(USUAL_TIMEFRAME))
            return redirect(f"{reverse('admin:marketdata_candleblock_changelist')}?{asked.urlencode()}")
        return super().changelist_view(request, extra_context)


@admin.register(Backfill)
class BackfillAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "title", "owner", "feed", "state", "progress", "calls", "stored", "error")
    list_select_related = ("owner", "feed")
    list_filter = ("state", "feed")
    search_fields = ("title",)
    ordering = ("-created_at",)
    actions = ("cancel",)

    @admin.display(description="done")
    def progress(self, row: Backfill) -> str:
        return f"{row.percent} %"

    @admin.action(description="Cancel", permissions=["operate"])
    def cancel(self, request: HttpRequest, rows: QuerySet[Backfill]) -> None:
        self.press(request, rows, lambda row: backfill_cancel(backfill=row, wall=timezone.now()), told="Cancelled")


@admin.register(RefusedBar)
class RefusedBarAdmin(ReadOnlyAdmin):
    """Bars that a history told and that cannot be, with their numbers as they came."""

    list_display = (
        "started_at", "instrument", "timeframe", "why", "raw", "state", "asked", "next_ask_at", "settled_at", "feed",
    )  # fmt: skip
    list_select_related = ("instrument", "feed")
    list_filter = ("state", "why", "feed", "timeframe")
    search_fields = ("=instrument__symbol",)
    ordering = ("-started_at",)
    paginator = ShallowPaginator
    actions = ("ask_once_more",)

    @admin.action(description="Ask again at the next fetch", permissions=["operate"])
    def ask_once_more(self, request: HttpRequest, rows: QuerySet[RefusedBar]) -> None:
        ids = list(rows.values_list("pk", flat=True))
        actor = request.user.get_username()
        asked = sum(
            ask_again(rows=rows.filter(feed=feed).values_list("pk", flat=True), actor=actor, now=venue_now(feed.name))
            for feed in Feed.objects.filter(pk__in=rows.order_by().values("feed"))
        )
        self.message_user(request, f"{asked} of {len(ids)} are asked for at the next fetch of their minutes.")


@admin.register(HistoryTally)
class HistoryTallyAdmin(ReadOnlyAdmin):
    """Calls saved: requests to a broker's history that were not needed."""

    list_display = ("date", "feed", "needed", "calls", "not_needed", "bars")
    list_select_related = ("feed",)
    list_filter = ("feed",)
    ordering = ("-date", "feed")

    @admin.display(description="saved")
    def not_needed(self, row: HistoryTally) -> str:
        return f"{row.saved} ({row.saved_pct:.0f} %)"
