"""The order ticket: a hand on the same path that signals take."""

import uuid
from decimal import Decimal
from typing import Any

from django import forms
from django.db.models import Q
from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods, require_safe

from execution.models import Intent, Order, ParentOrder
from execution.services.order_ticket import order_ticket
from execution.services.parent_ask import MOST_MINUTES, MOST_SLICES, large_order_ticket
from risk.models import Assessment
from trading.domain.errors import NotAllowed, TradingError
from trading.domain.orders import OrderType, Product, Side
from trading.marketdata.models import Instrument
from trading.portfolio.models import Portfolio
from trading.web.access import NEXT_STEPS, dialog, signed_in
from trading.web.desk import DeskRequest


class TicketForm(forms.Form):
    """What a hand may ask for. Ticks, lots, margins and limits are judged by the gates, not here."""

    symbol = forms.CharField(max_length=60)
    side = forms.ChoiceField(choices=[(s.value, s.value) for s in Side])
    quantity = forms.IntegerField(min_value=1, max_value=10_000_000)
    order_type = forms.ChoiceField(choices=[(t.value, t.value) for t in (OrderType.LIMIT, OrderType.MARKET)])
    limit_price = forms.DecimalField(min_value=Decimal("0.0001"), max_digits=14, decimal_places=4, required=False)
    stop_price = forms.DecimalField(min_value=Decimal("0.0001"), max_digits=14, decimal_places=4, required=False)
    target_price = forms.DecimalField(min_value=Decimal("0.0001"), max_digits=14, decimal_places=4, required=False)
    product = forms.ChoiceField(choices=[(p.value, p.value) for p in (Product.INTRADAY, Product.CNC)])
    work = forms.ChoiceField(choices=[("", "at once"), *ParentOrder.Style.choices], required=False)
    minutes = forms.IntegerField(min_value=1, max_value=MOST_MINUTES, required=False)
    slices = forms.IntegerField(min_value=2, max_value=MOST_SLICES, required=False)
    visible = forms.IntegerField(min_value=1, max_value=10_000_000, required=False)
    key = forms.UUIDField()

    def clean(self) -> dict[str, object]:
        given = super().clean() or {}
        is_limit = given.get("order_type") == OrderType.LIMIT
        if is_limit and not given.get("limit_price") and "limit_price" not in self.errors:
            self.add_error("limit_price", "A limit order needs its price.")
        if given.get("order_type") == OrderType.MARKET:
            given["limit_price"] = None
            if given.get("work"):
                self.add_error("work", "A large order needs a limit that no part of it may pass.")
        needed = {"TWAP": ("minutes", "slices"), "ICEBERG": ("visible",)}.get(str(given.get("work")), ())
        for name in needed:
            if not given.get(name) and name not in self.errors:
                self.add_error(name, "It is needed for this.")
        return given


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def ticket(request: DeskRequest) -> HttpResponse:
    """GET shows an empty ticket, POST sends it once: the key in it makes a second press the same wish."""
    desk = request.desk
    if desk.portfolio is None:
        raise NotAllowed("NO_PORTFOLIO", "There is no portfolio to trade for yet.")
    if request.method != "POST":
        side = request.GET.get("side", "BUY").upper()
        start = {
            "side": side if side in {"BUY", "SELL"} else "BUY",
            "symbol": request.GET.get("symbol", "")[:60],
            "order_type": "LIMIT",
            "product": "INTRADAY",
            "key": str(uuid.uuid4()),
        }
        return dialog(request, "execution/_ticket.html", {"given": start, "errors": {}})
    form = TicketForm(request.POST)
    if not form.is_valid():
        return dialog(request, "execution/_ticket.html", {"given": request.POST, "errors": form.errors}, status=422)
    wish = form.cleaned_data
    try:
        if wish["work"]:
            return dialog(request, "execution/_ticket_done.html", {"parent": _large(request, desk.portfolio, wish)})
        intent = order_ticket(
            user=request.user,
            portfolio=desk.portfolio,
            symbol=_full_symbol(wish["symbol"]),
            side=Side(wish["side"]),
            quantity=wish["quantity"],
            order_type=OrderType(wish["order_type"]),
            limit_price=wish["limit_price"],
            stop_price=wish["stop_price"],
            target_price=wish["target_price"],
            product=Product(wish["product"]),
            idempotency_key=str(wish["key"]),
            source=Intent.Source.PAGE,
            now=desk.now,
        )
    except TradingError as error:
        next_step = next(words for kind, _, words in NEXT_STEPS if isinstance(error, kind))
        context = {"given": request.POST, "errors": {}, "error": error, "next_step": next_step}
        return dialog(request, "execution/_ticket.html", context, status=422)
    return dialog(request, "execution/_ticket_done.html", _answer(intent))


def _large(request: DeskRequest, portfolio: Portfolio, wish: dict[str, Any]) -> ParentOrder:
    """The same wish, let out in parts."""
    return large_order_ticket(
        user=request.user, portfolio=portfolio, symbol=_full_symbol(wish["symbol"]), side=Side(wish["side"]),
        quantity=wish["quantity"], limit_price=wish["limit_price"], stop_price=wish["stop_price"],
        target_price=wish["target_price"], product=Product(wish["product"]), style=wish["work"],
        minutes=wish["minutes"] or 0, slices=wish["slices"] or 0, visible=wish["visible"] or 0,
        idempotency_key=str(wish["key"]), source=Intent.Source.PAGE, now=request.desk.now,
    )  # fmt: skip


def _full_symbol(typed: str) -> str:
    """`sbin` as the exchange writes it, `NSE:SBIN-EQ`; what holds a colon is taken as it is."""
    typed = typed.strip().upper()
    return typed if ":" in typed else f"NSE:{typed}-EQ"


def _answer(intent: Intent) -> dict[str, object]:
    order = Order.objects.filter(intent=intent, child=0).first()
    return {
        "intent": intent,
        "order": order,
        "verdicts": Assessment.objects.verdicts_of([intent.pk]).get(intent.pk, []),
    }


@require_safe
@signed_in
def symbols(request: DeskRequest) -> HttpResponse:
    """Tradable instruments whose symbol or name holds what was typed, best first; eight at most."""
    typed = request.GET.get("symbol", "").strip()[:60]
    found: list[Instrument] = []
    if typed:
        rows = Instrument.objects.filter(active=True).exclude(instrument_type="INDEX")
        rows = rows.filter(Q(symbol__icontains=typed) | Q(name__icontains=typed))[:40]
        found = sorted(rows, key=lambda row: (not row.ticker.startswith(typed.upper()), row.symbol))[:8]
    listed = [(row, request.desk.quotes.get(row.symbol)) for row in found]
    return render(request, "execution/_symbols.html", {"found": listed, "typed": typed})


@require_safe
@signed_in
def quote(request: DeskRequest) -> HttpResponse:
    """The last price of one symbol and its tick, for the ticket's price field."""
    row = Instrument.objects.filter(symbol=request.GET.get("symbol", "")[:60]).first()
    last = request.desk.quotes.get(row.symbol) if row else None
    return JsonResponse(
        {
            "symbol": row.symbol if row else None,
            "ticker": row.ticker if row else None,
            "tick": str(row.tick_size.normalize()) if row else None,
            "lot": row.lot_size if row else None,
            "last": str(last.last_price) if last else None,
        }
    )
