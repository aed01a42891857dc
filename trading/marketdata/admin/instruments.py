"""The operators' view of what is listed: instruments with their dated facts, and what each master changed."""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.views.decorators.http import require_POST

from accounts.console import ReadOnlyAdmin, ReadOnlyInline, ShallowPaginator, require_operator
from trading.audit.record import record
from trading.marketdata.models import (
    FormerIdentity,
    Instrument,
    InstrumentChange,
    InstrumentRefresh,
    InstrumentTerms,
    PriceBand,
    SectorStay,
    UniverseMember,
)
from trading.outbox import after_commit


class TermsInline(ReadOnlyInline):
    model = InstrumentTerms
    fields = ("from_date", "tick_size", "lot_size", "freeze_quantity", "source")


class BandInline(ReadOnlyInline):
    model = PriceBand
    fields = ("session_date", "feed", "lower", "upper", "source", "heard_at")
    verbose_name_plural = "price bands, the last ten days"

    def get_queryset(self, request: HttpRequest) -> Any:
        shown = super().get_queryset(request).select_related("feed")
        parent = request.resolver_match.kwargs.get("object_id", 0) if request.resolver_match else 0
        last = PriceBand.objects.filter(instrument_id=parent).values_list("pk", flat=True)[:10]
        return shown.filter(pk__in=list(last))


class FormerInline(ReadOnlyInline):
    model = FormerIdentity
    fields = ("symbol", "isin", "fy_token", "until_date", "source")


class SectorInline(ReadOnlyInline):
    model = SectorStay
    fields = ("sector", "from_date", "to_date", "source")


class StayInline(ReadOnlyInline):
    model = UniverseMember
    fields = ("universe", "from_date", "to_date")


@admin.register(Instrument)
class InstrumentAdmin(ReadOnlyAdmin):
    list_display = (
        "symbol", "name", "instrument_type", "sector", "tick_size", "lot_size", "freeze_quantity", "expiry", "strike",
        "active", "master_date",
    )  # fmt: skip
    list_filter = ("active", "instrument_type", "exchange", "segment", "has_derivatives")
    search_fields = ("symbol", "name", "isin", "fy_token", "kite_token", "former__symbol")
    search_help_text = "symbol of today or of before, name, ISIN or broker token"
    ordering = ("symbol",)
    paginator = ShallowPaginator
    inlines = (TermsInline, BandInline, FormerInline, SectorInline, StayInline)


class ChangeInline(ReadOnlyInline):
    model = InstrumentChange
    fields = ("kind", "symbol", "field", "before", "after")
    verbose_name_plural = "changes, the first two hundred"

    def get_queryset(self, request: HttpRequest) -> Any:
        shown = super().get_queryset(request)
        parent = request.resolver_match.kwargs.get("object_id", 0) if request.resolver_match else 0
        first = InstrumentChange.objects.filter(refresh_id=parent).order_by("pk").values_list("pk", flat=True)[:200]
        return shown.filter(pk__in=list(first))


@admin.register(InstrumentRefresh)
class InstrumentRefreshAdmin(ReadOnlyAdmin):
    """Every master that was taken over or refused, and a button that fetches today's."""

    list_display = ("at", "source", "markets", "as_of", "outcome", "listed", "told", "code", "actor", "file_name")
    list_filter = ("outcome", "source")
    search_fields = ("file_name", "code", "actor", "markets")
    ordering = ("-at",)
    inlines = (ChangeInline,)
    change_list_template = "admin/instrument_refreshes.html"

    @admin.display(description="changes")
    def told(self, refresh: InstrumentRefresh) -> str:
        return ", ".join(f"{count:,} {word}" for word, count in refresh.counts.items() if count) or "none"

    def get_urls(self) -> list[Any]:
        press = path(
            "fetch/", self.admin_site.admin_view(require_POST(self.fetch)), name="marketdata_instrumentrefresh_fetch"
        )
        return [press, *super().get_urls()]

    def fetch(self, request: HttpRequest) -> HttpResponse:
        """Ring for today's masters. Pressed twice it is done twice: the second finds nothing new."""
        require_operator(request)
        record("instruments.asked", actor=request.user.get_username())
        after_commit("execution.refresh_instruments", forced=True)
        self.message_user(request, "The masters are being fetched. Come back in a minute.", messages.SUCCESS)
        return redirect("admin:marketdata_instrumentrefresh_changelist")


@admin.register(InstrumentChange)
class InstrumentChangeAdmin(ReadOnlyAdmin):
    list_display = ("pk", "symbol", "kind", "field", "before", "after", "refresh")
    list_select_related = ("refresh",)
    list_filter = ("kind", "field")
    search_fields = ("symbol", "before", "after")
    paginator = ShallowPaginator
