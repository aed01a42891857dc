"""The paper broker's own books in the console: the other of the two truths that reconciliation compares."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.console import ReadOnlyAdmin, ShallowPaginator, money
from execution.brokers.registry import bring_to_present
from execution.models import PaperBook, PaperHolding, PaperOrder, PaperTrade, PaperTrigger


@admin.register(PaperBook)
class PaperBookAdmin(ReadOnlyAdmin):
    list_display = (
        "account", "owner", "price_source", "session_date", "cash", "slippage_bps", "volume_share_pct",
        "matched_through",
    )  # fmt: skip
    list_select_related = ("account__owner", "account__price_source")
    search_fields = ("account__name", "account__owner__username")
    cash = money("cash_paise", "cash as the session began")
    actions = ("present",)

    @admin.action(description="Bring to the present: match, and end a session that is over", permissions=["operate"])
    def present(self, request: HttpRequest, books: QuerySet[PaperBook]) -> None:
        self.press(request, books, lambda book: bring_to_present(book.account), told="Brought to the present")

    @admin.display(description="owner", ordering="account__owner")
    def owner(self, book: PaperBook) -> Any:
        return book.account.owner

    @admin.display(description="prices from")
    def price_source(self, book: PaperBook) -> Any:
        return book.account.price_source


@admin.register(PaperOrder)
class PaperOrderAdmin(ReadOnlyAdmin):
    list_display = (
        "number", "tag", "book", "symbol", "side", "quantity", "filled_quantity", "order_type", "status", "source",
        "updated_at",
    )  # fmt: skip
    list_select_related = ("book__account",)
    list_filter = ("status", "source", "session_date")
    search_fields = ("number", "tag", "symbol")
    paginator = ShallowPaginator
    show_full_result_count = False


@admin.register(PaperTrade)
class PaperTradeAdmin(ReadOnlyAdmin):
    list_display = ("number", "order", "quantity", "price", "traded_at")
    list_select_related = ("order",)
    search_fields = ("number", "order__tag", "order__symbol")
    paginator = ShallowPaginator
    show_full_result_count = False


@admin.register(PaperHolding)
class PaperHoldingAdmin(ReadOnlyAdmin):
    list_display = ("book", "symbol", "quantity", "cost")
    list_select_related = ("book__account",)
    search_fields = ("symbol",)


@admin.register(PaperTrigger)
class PaperTriggerAdmin(ReadOnlyAdmin):
    list_display = ("number", "book", "symbol", "side", "legs", "status", "message", "updated_at")
    list_select_related = ("book__account",)
    list_filter = ("status",)
    search_fields = ("number", "symbol")
