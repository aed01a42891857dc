"""Large orders: what is out, what has filled, what follows; and taking back the rest."""

from datetime import datetime

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_http_methods, require_safe

from execution.large_orders import Worked, worked
from execution.models import Order, ParentOrder
from execution.services.parent_advance import parent_withdraw
from trading.domain.errors import Conflict
from trading.marketdata.clocks import venue_now
from trading.web.access import dialog, signed_in
from trading.web.desk import DeskRequest

PAGE = 50


def _mine(request: DeskRequest):
    rows = ParentOrder.objects.for_user(request.user)
    return rows.select_related("instrument", "portfolio__account", "signal__deployment__version")


def live_ones(request: DeskRequest) -> list[Worked]:
    """Of the chosen portfolio: what is being worked now."""
    rows = _mine(request).filter(portfolio=request.desk.portfolio, state=ParentOrder.State.LIVE)
    return worked(list(rows), now=request.desk.now)


@require_safe
@signed_in
def large_orders(request: DeskRequest) -> HttpResponse:
    """All of the chosen portfolio, newest first."""
    page = Paginator(_mine(request).filter(portfolio=request.desk.portfolio), PAGE).get_page(request.GET.get("page"))
    rows = worked(list(page.object_list), now=request.desk.now)
    return render(request, "execution/large_orders.html", {"page": page, "rows": rows})


@require_safe
@signed_in
def large_order(request: DeskRequest, parent_id: int) -> HttpResponse:
    parent = get_object_or_404(_mine(request), pk=parent_id)
    name = "execution/_large_order.html" if request.htmx else "execution/large_order.html"
    return render(request, name, _story(parent, now=venue_now(parent.portfolio.account.feed)))


def _story(parent: ParentOrder, *, now: datetime) -> dict[str, object]:
    (one,) = worked([parent], now=now)
    orders = Order.objects.for_user(parent.portfolio.owner).filter(intent__parent=parent).select_related("instrument")
    held_back = parent.intents.exclude(refusal_code="").order_by("created_at")
    return {"parent": parent, "one": one, "orders": list(orders.order_by("pk")), "held_back": held_back}


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def withdraw(request: DeskRequest, parent_id: int) -> HttpResponse:
    """GET says what it would do; POST takes back what is not filled. Twice is once."""
    parent = get_object_or_404(_mine(request), pk=parent_id)
    now = venue_now(parent.portfolio.account.feed)
    asked = None
    if request.method == "POST":
        asked = parent_withdraw(parent_id=parent.pk, actor=request.user.get_username(), now=now)
        parent = get_object_or_404(_mine(request), pk=parent_id)
    elif not parent.is_live:
        raise Conflict("ORDER_IS_DONE", "This large order is over: there is nothing left to take back.")
    (one,) = worked([parent], now=now)
    return dialog(request, "execution/_withdraw.html", {"parent": parent, "one": one, "asked": asked})
