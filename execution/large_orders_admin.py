"""Large orders in the console: facts to read, and a button that takes back the rest."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.console import ReadOnlyAdmin, ReadOnlyInline, ShallowPaginator
from execution.large_orders import worked
from execution.models import DeploymentWork, Intent, ParentOrder
from execution.services.parent_advance import parent_withdraw
from trading.marketdata.clocks import venue_now


class ChildInline(ReadOnlyInline):
    model = Intent
    fields = ("created_at", "wanted_quantity", "allowed_quantity", "limit_price", "state", "refusal_code", "refusal")
    show_change_link = True


@admin.register(ParentOrder)
class ParentOrderAdmin(ReadOnlyAdmin):
    list_display = (
        "created_at", "portfolio", "instrument", "side", "style", "wanted_quantity", "quantity", "filled",
        "state", "code", "waits", "ends_at",
    )  # fmt: skip
    list_select_related = ("portfolio", "instrument")
    list_filter = ("state", "style", "code")
    search_fields = ("instrument__symbol", "portfolio__name", "actor")
    ordering = ("-id",)
    paginator = ShallowPaginator
    inlines = (ChildInline,)
    actions = ("withdraw",)
    extra_facts = ("filled",)

    @admin.display(description="filled")
    def filled(self, parent: ParentOrder) -> int:
        return worked([parent], now=parent.ends_at)[0].filled

    @admin.action(description="Take back what is not filled", permissions=["operate"])
    def withdraw(self, request: HttpRequest, parents: QuerySet[ParentOrder]) -> None:
        def withdraw(parent: ParentOrder) -> bool:
            now = venue_now(parent.portfolio.account.feed)
            return parent_withdraw(parent_id=parent.pk, actor=request.user.get_username(), now=now)

        self.press(request, parents.select_related("portfolio__account"), withdraw, told="Taken back")


@admin.register(DeploymentWork)
class DeploymentWorkAdmin(ReadOnlyAdmin):
    """How deployments let their large entries out, every version: the owner chooses, operators read."""

    list_display = ("deployment", "version", "active", "style", "from_rupees", "created_at", "created_by")
    list_select_related = ("deployment__version__contract", "deployment__universe")
    list_filter = ("active", "style")
    search_fields = ("deployment__portfolio__name", "created_by")
    ordering = ("-id",)
