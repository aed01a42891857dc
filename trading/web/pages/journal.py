"""Closed trades: what was earned, net of charges, and why each was entered and left."""

from django.core.paginator import Paginator
from django.db.models import Count, F, Q, Sum
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from execution.models import Order
from trading.portfolio.models import ClosedTrade
from trading.web.access import signed_in
from trading.web.desk import DeskRequest

PAGE = 50


@require_safe
@signed_in
def journal(request: DeskRequest) -> HttpResponse:
    rows = (
        ClosedTrade.objects.for_user(request.user)
        .filter(portfolio=request.desk.portfolio)
        .select_related("instrument")
        .order_by("-closed_at", "-id")
    )
    won = Q(gross_paise__gt=F("charges_paise"))
    totals = rows.aggregate(
        trades=Count("pk"), winners=Count("pk", filter=won), gross=Sum("gross_paise"), charges=Sum("charges_paise")
    )
    totals["gross"], totals["charges"] = totals["gross"] or 0, totals["charges"] or 0
    totals["net"] = totals["gross"] - totals["charges"]
    totals["win_pct"] = round(100 * totals["winners"] / totals["trades"]) if totals["trades"] else None
    page = Paginator(rows, PAGE).get_page(request.GET.get("page"))
    entries = Order.objects.filter(group__in=[trade.group_ref for trade in page], reason="ENTRY").order_by("-id")
    first_orders = {order.group_id: order.pk for order in entries}
    trades = [(trade, first_orders.get(trade.group_ref)) for trade in page]
    return render(request, "portfolio/journal.html", {"page": page, "trades": trades, "totals": totals})
