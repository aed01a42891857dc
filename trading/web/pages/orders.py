"""Orders, the story of one, and asking the broker to cancel one."""

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_http_methods, require_safe

from execution.models import Order
from execution.services.order_cancel import order_cancel
from execution.states import LIVE_STATES, OrderState
from execution.story import tell_order
from trading.domain.errors import Conflict
from trading.marketdata.clocks import venue_now
from trading.web.access import dialog, signed_in
from trading.web.desk import DeskRequest
from trading.web.pages.large_orders import live_ones

PAGE = 50
FILTERS: dict[str, tuple[str, frozenset[OrderState]]] = {
    "": ("All", frozenset()),
    "live": ("Live", LIVE_STATES),
    "unknown": ("Unknown", frozenset({OrderState.UNKNOWN})),
    "filled": ("Filled", frozenset({OrderState.FILLED})),
    "cancelled": ("Cancelled", frozenset({OrderState.CANCELLED, OrderState.EXPIRED, OrderState.WITHDRAWN})),
    "rejected": ("Rejected", frozenset({OrderState.REJECTED, OrderState.NOT_PLACED})),
}


def orders_context(request: DeskRequest) -> dict[str, object]:
    """One page of the orders of the chosen portfolio, newest first, in the states that were asked for."""
    chosen = request.GET.get("state", "")
    chosen = chosen if chosen in FILTERS else ""
    rows: QuerySet[Order] = request.desk.orders().order_by("-id")
    if states := FILTERS[chosen][1]:
        rows = rows.filter(state__in=states)
    page = Paginator(rows, PAGE).get_page(request.GET.get("page"))
    filters = [(name, label, name == chosen) for name, (label, _) in FILTERS.items()]
    return {"page": page, "filters": filters, "chosen": chosen, "rows": live_ones(request)}


@require_safe
@signed_in
def orders(request: DeskRequest) -> HttpResponse:
    return render(request, "execution/orders.html", orders_context(request))


@require_safe
@signed_in
def order(request: DeskRequest, order_id: int) -> HttpResponse:
    """The whole story, from the signal to the last paisa of charges."""
    story = tell_order(_order(request, order_id))
    name = "execution/_order_story.html" if request.htmx else "execution/order.html"
    return render(request, name, {"story": story, "order": story.order})


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def cancel(request: DeskRequest, order_id: int) -> HttpResponse:
    """GET says what a cancel would do; POST asks for it. Done only when the broker's book says so."""
    row = _order(request, order_id)
    asked = None
    if request.method == "POST":
        asked = order_cancel(
            order_id=row.pk, actor=request.user.get_username(), now=venue_now(row.portfolio.account.feed)
        )
        row = _order(request, order_id)
    elif row.is_final:
        raise Conflict("ORDER_IS_DONE", f"This order is {row.state.lower()} already: there is nothing left to cancel.")
    return dialog(request, "execution/_cancel.html", {"order": row, "asked": asked})


def _order(request: DeskRequest, order_id: int) -> Order:
    mine = Order.objects.for_user(request.user).select_related("instrument", "portfolio__account")
    return get_object_or_404(mine, pk=order_id)
