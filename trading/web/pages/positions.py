"""Open positions, and the way out of one: asked once, then shown until the position is flat."""

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_http_methods, require_safe

from execution.holdings import Holding, open_holdings
from execution.models import Group
from execution.services.override import close_position
from trading.domain.errors import Conflict
from trading.marketdata.clocks import venue_now
from trading.marketdata.quotes import last_quotes
from trading.portfolio.models import ClosedTrade
from trading.portfolio.valuation import value_portfolio
from trading.web.access import dialog, signed_in
from trading.web.desk import DeskRequest


@require_safe
@signed_in
def positions(request: DeskRequest) -> HttpResponse:
    return render(request, "portfolio/positions.html")


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def close(request: DeskRequest, group_id: UUID) -> HttpResponse:
    """GET says exactly what a close would do; POST asks for it. Asking twice is asking once."""
    group = _group(request, group_id)
    if request.method == "POST":
        now = venue_now(group.portfolio.account.feed)
        close_position(group_id=group.pk, actor=request.user.get_username(), now=now)
        return dialog(request, "portfolio/_close_progress.html", _progress(_group(request, group_id)))
    if group.close_reason or group.state == Group.State.CLOSED:
        return dialog(request, "portfolio/_close_progress.html", _progress(group))
    holding = _holding(group)
    if not holding.net_quantity and not holding.live_orders:
        raise Conflict("NOTHING_TO_CLOSE", f"{group.instrument.ticker} holds nothing and has no live order.")
    charges = holding.exit_charges_paise(on_date=request.desk.today)
    return dialog(request, "portfolio/_close_ask.html", {"holding": holding, "group": group, "charges_paise": charges})


@require_safe
@signed_in
def progress(request: DeskRequest, group_id: UUID) -> HttpResponse:
    """How far the close has come. The page asks again until the group is closed."""
    return dialog(request, "portfolio/_close_progress.html", _progress(_group(request, group_id)))


def _group(request: DeskRequest, group_id: UUID) -> Group:
    mine = Group.objects.for_user(request.user).select_related("instrument", "portfolio__account")
    return get_object_or_404(mine, pk=group_id)


def _holding(group: Group) -> Holding:
    feed = group.portfolio.account.feed
    quotes = last_quotes(feed, [group.instrument.symbol])
    valuation = value_portfolio(group.portfolio, quotes=quotes, now=venue_now(feed))
    found = (held for held in open_holdings(group.portfolio, valuation) if held.group.pk == group.pk)
    return next(found, Holding(group, None))


def _progress(group: Group) -> dict[str, object]:
    closed = group.state == Group.State.CLOSED
    return {
        "group": group,
        "holding": Holding(group, None) if closed else _holding(group),
        "exits": group.orders.exclude(reason="ENTRY").order_by("id"),
        "trade": ClosedTrade.objects.filter(portfolio=group.portfolio, group_ref=group.pk).first() if closed else None,
    }
