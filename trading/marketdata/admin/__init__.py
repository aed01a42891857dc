from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from accounts.console import ReadOnlyAdmin, ReadOnlyInline
from trading.marketdata.admin.calendar import CalendarDayAdmin
from trading.marketdata.admin.candles import (
    BackfillAdmin,
    CandleBlockAdmin,
    CandleSeriesAdmin,
    HistoryTallyAdmin,
    RefusedBarAdmin,
)
from trading.marketdata.admin.instruments import InstrumentAdmin
from trading.marketdata.admin.quality import QualityDayAdmin
from trading.marketdata.models import Feed, Universe, UniverseMember

__all__ = [
    "BackfillAdmin",
    "CalendarDayAdmin",
    "CandleBlockAdmin",
    "CandleSeriesAdmin",
    "FeedAdmin",
    "HistoryTallyAdmin",
    "InstrumentAdmin",
    "QualityDayAdmin",
    "RefusedBarAdmin",
    "UniverseAdmin",
]


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
