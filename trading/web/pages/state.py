"""What the live cells show, for a page that missed an event; and the curve of the day."""

from datetime import timedelta

from django.http import Http404, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from execution.cells import position_cells, quote_cells
from trading.portfolio.models import EquityPoint, Portfolio, TradingDay
from trading.web.access import signed_in
from trading.web.desk import DeskRequest

HISTORY_DAYS = 90
POINTS = 800


def _choose(request: DeskRequest) -> Portfolio:
    """The portfolio that was asked for, the chosen one without a name; 404 for what is not the user's."""
    desk = request.desk
    asked = request.GET.get("portfolio")
    if asked is not None:
        desk.portfolio = next((p for p in desk.portfolios if str(p.pk) == asked), None)
    if desk.portfolio is None:
        raise Http404
    return desk.portfolio


@require_safe
@signed_in
def state(request: DeskRequest) -> HttpResponse:
    """Every live cell of one portfolio, in the words of the events. `seq` was read before the rest."""
    portfolio = _choose(request)
    desk = request.desk
    return JsonResponse(
        {
            "seq": desk.sequence,
            "portfolio": portfolio.pk,
            "summary": desk.summary,
            "quotes": quote_cells(desk.quotes),
            "rows": position_cells(desk.holdings),
            "engine": desk.engine_state,
            "needs": desk.needs_count,
        }
    )


@require_safe
@signed_in
def equity(request: DeskRequest) -> HttpResponse:
    """The equity curve of the venue day and the openings of the last 90 days: `[epoch seconds, rupees]` each."""
    portfolio = _choose(request)
    desk = request.desk
    today = list(
        EquityPoint.objects.filter(portfolio=portfolio, session_date=desk.today)
        .order_by("at")
        .values_list("at", "equity_paise")
    )
    step = max(1, len(today) // POINTS)
    days = TradingDay.objects.filter(
        portfolio=portfolio, session_date__gte=desk.today - timedelta(days=HISTORY_DAYS)
    ).order_by("session_date")
    opening = next((day.opening_equity_paise for day in days if day.session_date == desk.today), None)
    return JsonResponse(
        {
            "day": [[round(at.timestamp()), paise / 100] for at, paise in today[::step]],
            "opening": None if opening is None else opening / 100,
            "history": [[day.session_date.isoformat(), day.opening_equity_paise / 100] for day in days],
        }
    )
