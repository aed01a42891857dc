from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from accounts.console import ReadOnlyAdmin, ReadOnlyInline, ShallowPaginator
from trading.marketdata.admin_instruments import InstrumentAdmin
from trading.marketdata.models import Candle, Feed, Universe, UniverseMember

USUAL_TIMEFRAME = 5

__all__ = ["CandleAdmin", "FeedAdmin", "InstrumentAdmin", "UniverseAdmin"]


@admin.register(Feed)
class FeedAdmin(ReadOnlyAdmin):
    list_display = ("name", "kind", "phase", "session_date", "venue_at", "speed")
    list_filter = ("kind",)


class MemberInline(ReadOnlyInline):
    model = UniverseMember
    fields = ("instrument", "from_date", "to_date")


@admin.register(Universe)
class UniverseAdmin(ReadOnlyAdmin):
    list_display = ("name", "description")
    search_fields = ("name",)
    inlines = (MemberInline,)

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("members__instrument")


class TimeframeFilter(admin.SimpleListFilter):
    title = "timeframe"
    parameter_name = "timeframe"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        minutes = [("1", "1 minute"), ("5", "5 minutes"), ("15", "15 minutes"), ("60", "1 hour")]
        return [*minutes, ("1440", "1 day")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(timeframe=self.value()) if self.value() else queryset


@admin.register(Candle)
class CandleAdmin(ReadOnlyAdmin):
    """The big table. Always looked at one feed and one timeframe at a time, which is how it is indexed."""

    list_display = ("started_at", "instrument", "timeframe", "open", "high", "low", "close", "volume", "source", "feed")
    list_select_related = ("instrument", "feed")
    list_filter = ("feed", TimeframeFilter)
    search_fields = ("=instrument__symbol",)
    search_help_text = "the whole symbol, such as NSE:SBIN-EQ"
    date_hierarchy = "started_at"
    ordering = ("-started_at",)
    paginator = ShallowPaginator

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        feed = Feed.objects.order_by("pk").first()
        missing = "feed__id__exact" not in request.GET or TimeframeFilter.parameter_name not in request.GET
        if request.method == "GET" and feed is not None and missing:
            asked = request.GET.copy()
            asked.setdefault("feed__id__exact", str(feed.pk))
            asked.setdefault(TimeframeFilter.parameter_name, str(USUAL_TIMEFRAME))
            return redirect(f"{reverse('admin:marketdata_candle_changelist')}?{asked.urlencode()}")
        return super().changelist_view(request, extra_context)
