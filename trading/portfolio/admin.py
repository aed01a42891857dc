from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from accounts.console import ReadOnlyAdmin, ReadOnlyInline, ShallowPaginator, money
from trading.portfolio.models import (
    ClosedTrade,
    EquityPoint,
    LedgerEntry,
    LedgerTransaction,
    Portfolio,
    Position,
    TradingDay,
    Watchlist,
    WatchlistItem,
)  # fmt: skip


@admin.register(Portfolio)
class PortfolioAdmin(ReadOnlyAdmin):
    list_display = ("name", "owner", "account", "opening_cash", "approval_mode", "created_at")
    list_select_related = ("owner", "account")
    list_filter = ("approval_mode", "account__environment")
    search_fields = ("name", "owner__username")
    opening_cash = money("opening_cash_paise", "opening cash ₹")


@admin.register(Position)
class PositionAdmin(ReadOnlyAdmin):
    list_display = ("portfolio", "instrument", "product", "net_quantity", "cost", "realised", "charges", "updated_at")
    list_select_related = ("portfolio", "instrument")
    list_filter = ("product",)
    search_fields = ("instrument__symbol", "portfolio__name", "portfolio__owner__username")
    ordering = ("-updated_at", "-pk")
    cost = money("cost_paise", "cost ₹")
    realised = money("realised_paise", "realised ₹")
    charges = money("charges_paise", "charges ₹")


class EntryInline(ReadOnlyInline):
    model = LedgerEntry
    fields = ("account", "amount")
    amount = money("amount_paise", "amount ₹")


@admin.register(LedgerTransaction)
class LedgerTransactionAdmin(ReadOnlyAdmin):
    list_display = ("occurred_at", "portfolio", "kind", "memo", "key")
    list_select_related = ("portfolio",)
    list_filter = ("kind",)
    search_fields = ("key", "memo", "portfolio__name")
    inlines = (EntryInline,)
    paginator = ShallowPaginator


@admin.register(ClosedTrade)
class ClosedTradeAdmin(ReadOnlyAdmin):
    list_display = ("closed_at", "portfolio", "instrument", "side", "quantity", "gross", "charges", "exit_reason")
    list_select_related = ("portfolio", "instrument")
    list_filter = ("exit_reason", "side")
    search_fields = ("instrument__symbol", "portfolio__name", "contract_ref")
    ordering = ("-closed_at", "-pk")
    gross = money("gross_paise", "gross ₹")
    charges = money("charges_paise", "charges ₹")


@admin.register(TradingDay)
class TradingDayAdmin(ReadOnlyAdmin):
    list_display = ("session_date", "portfolio", "opening_equity")
    list_select_related = ("portfolio",)
    search_fields = ("portfolio__name",)
    ordering = ("-session_date", "-pk")
    opening_equity = money("opening_equity_paise", "opening equity ₹")


@admin.register(EquityPoint)
class EquityPointAdmin(ReadOnlyAdmin):
    list_display = ("at", "portfolio", "equity", "day_pnl")
    list_select_related = ("portfolio",)
    search_fields = ("portfolio__name",)
    ordering = ("-at", "-pk")
    paginator = ShallowPaginator
    equity = money("equity_paise", "equity ₹")
    day_pnl = money("day_pnl_paise", "day's profit ₹")


class WatchedInline(ReadOnlyInline):
    model = WatchlistItem
    fields = ("place", "instrument")


@admin.register(Watchlist)
class WatchlistAdmin(ReadOnlyAdmin):
    list_display = ("name", "owner", "watched", "created_at")
    list_select_related = ("owner",)
    search_fields = ("name", "owner__username", "items__instrument__symbol")
    inlines = (WatchedInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Watchlist]:
        return super().get_queryset(request).annotate(watched_count=Count("items"))

    @admin.display(description="instruments", ordering="watched_count")
    def watched(self, watchlist: Watchlist) -> int:
        return int(watchlist.watched_count)  # type: ignore[attr-defined]
