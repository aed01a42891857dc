from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path

from accounts.console import ReadOnlyAdmin, ReadOnlyInline, ShallowPaginator, money, require_operator
from trading.domain.errors import TradingError
from trading.domain.money import to_rupees
from trading.marketdata.clocks import venue_now
from trading.portfolio.booking import CHARGE_ACCOUNTS
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
from trading.portfolio.true_up import booked_lines, note_of, true_up_charges
from trading.venue.charges import ChargeSheet


class ContractDayForm(forms.Form):
    portfolio = forms.ModelChoiceField(Portfolio.objects.select_related("account").order_by("name"))
    day = forms.DateField(widget=forms.DateInput(attrs={"type": "date"}))


class ContractNoteForm(ContractDayForm):
    """A line for every charge that a note has, rupees; an empty one is nothing."""

    reference = forms.CharField(max_length=60, help_text="the number on the note: it makes the correction happen once")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in CHARGE_ACCOUNTS:
            self.fields[name] = forms.DecimalField(
                label=f"{name}, ₹", required=False, min_value=0, max_digits=9, decimal_places=2
            )

    def note(self) -> ChargeSheet:
        return note_of({name: self.cleaned_data[name] or 0 for name in CHARGE_ACCOUNTS})


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
    change_list_template = "admin/ledger.html"

    def get_urls(self) -> list[Any]:
        page = path("true-up/", self.admin_site.admin_view(self.true_up), name="portfolio_ledgertransaction_true_up")
        return [page, *super().get_urls()]

    def true_up(self, request: HttpRequest) -> HttpResponse:
        """A day's charges as booked, and as the contract note has them: the difference becomes an entry."""
        require_operator(request)
        form = ContractNoteForm(request.POST or None, initial=_asked(request))
        if request.method == "POST" and form.is_valid():
            given = form.cleaned_data
            try:
                posted = true_up_charges(
                    portfolio_id=given["portfolio"].pk, day=given["day"], note=form.note(),
                    reference=given["reference"], actor=request.user.get_username(),
                    now=venue_now(given["portfolio"].account.feed),
                )  # fmt: skip
            except TradingError as error:
                self.message_user(request, f"{error.message} ({error.code})", messages.ERROR)
            else:
                said = f"{posted.memo}." if posted else "The ledger says so already: nothing was posted."
                self.message_user(request, said, messages.SUCCESS)
                return redirect("admin:portfolio_ledgertransaction_changelist")
        context = {**self.admin_site.each_context(request), "title": "Charges by a contract note", "form": form,
                   "opts": self.opts}  # fmt: skip
        return render(request, "admin/true_up.html", context)


def _asked(request: HttpRequest) -> dict[str, Any]:
    """The day that was asked for, its lines as they are booked."""
    form = ContractDayForm(request.GET or None)
    if not form.is_bound or not form.is_valid():
        return {}
    portfolio, day = form.cleaned_data["portfolio"], form.cleaned_data["day"]
    booked = {name: to_rupees(paise) for name, paise in booked_lines(portfolio.pk, day).items()}
    return {"portfolio": portfolio, "day": day, **booked}


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
