"""Orders, positions, signals, dashboard: each person's own. What trades, trades once (trading.api.idempotency)."""

from typing import Any

from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.ownership import OwnedQuerySet
from execution.api import reads
from execution.api.filters import OrderFilter, PositionFilter, SignalFilter
from execution.api.placing import STORY, VERDICTS, answer_of, answer_to, told_of, wanted
from execution.api.serializers import (
    MAX_NUMBER,
    CancelSerializer,
    CloseSerializer,
    DashboardSerializer,
    IntentSerializer,
    OrderDetailSerializer,
    OrderSerializer,
    OrderTicketSerializer,
    PositionSerializer,
    SignalSerializer,
)  # fmt: skip
from execution.models import Group, Intent, Order
from execution.services.order_cancel import order_cancel
from execution.services.order_ticket import ticket_decide, what_is_named
from execution.services.override import close_position
from risk.models import Assessment
from strategies.models import Signal
from trading.api import problems
from trading.api.idempotency import once
from trading.api.openapi import KEY_PARAMETER, problems_of
from trading.api.views import DeskEndpoint
from trading.domain.errors import NotAllowed, NotFound
from trading.marketdata.clocks import venue_now
from trading.portfolio.models import Portfolio, Position
from trading.statements import Select

# Made once: to make its fields anew for each order takes longer than to read one. They keep nothing of what they read.
TICKET = OrderTicketSerializer()
MINE = Select(Portfolio, "account", where="""
WHERE t.owner_id = %(owner)s AND (%(portfolio)s::bigint IS NULL OR t.id = %(portfolio)s::bigint) ORDER BY t.id LIMIT 2
""")  # fmt: skip


def portfolio_of(request: Request, portfolio_id: int | None) -> Portfolio:
    """The named portfolio of the caller, or the only one. Raises NotFound, or NotAllowed when it is not clear."""
    could_be = portfolio_id is None or portfolio_id <= MAX_NUMBER
    return _the_one(MINE.rows({"owner": request.user.pk, "portfolio": portfolio_id}) if could_be else [])


def _the_one(found: list[Portfolio]) -> Portfolio:
    if not found:
        raise NotFound("PORTFOLIO_NOT_FOUND", "There is no such portfolio.")
    if len(found) > 1:
        raise NotAllowed("PORTFOLIO_UNCLEAR", "You have several portfolios: say which in `portfolio`.")
    return found[0]


@extend_schema_view(
    get=extend_schema(
        operation_id="orders_list", tags=["orders"], summary="Your orders, newest first",
        responses={200: OrderSerializer(many=True), **problems_of(401, 429)},
    )
)  # fmt: skip
class Orders(DeskEndpoint, ListAPIView):
    serializer_class = OrderSerializer
    filterset_class = OrderFilter

    def get_queryset(self) -> OwnedQuerySet:
        return Order.objects.for_user(self.request.user).select_related("instrument")

    @extend_schema(
        operation_id="orders_place",
        tags=["orders"],
        summary="Place an order",
        description="Risk decides. 201: on its way. 202: waits for a person's yes. 422: refused, nothing changed.",
        parameters=[KEY_PARAMETER],
        request=OrderTicketSerializer,
        responses={
            201: OrderDetailSerializer,
            202: IntentSerializer,
            **problems_of(400, 401, 403, 404, 409, 413, 415, 422, 429),
        },
    )
    def post(self, request: Request) -> Response:
        wish = TICKET.run_validation(request.data)
        return once(request, lambda key: self.place(request, key, wish), aside=VERDICTS)

    def place(self, request: Request, key: str, wish: dict[str, Any]) -> Response:
        which = min(wish.get("portfolio") or 0, MAX_NUMBER) or None
        mine, instrument = what_is_named(None, (int(request.user.pk or 0), which, wish["symbol"]))
        portfolio = _the_one(mine)
        if instrument is None:
            raise NotFound("UNKNOWN_SYMBOL", f"There is no instrument {wish['symbol']}.")
        decided = ticket_decide(
            portfolio=portfolio, **wanted(request.user, wish, instrument, key, now=venue_now(portfolio.account.feed))
        )  # fmt: skip
        code, body = answer_to(decided) or self.told_again(request, decided.intent)
        return Response(body, status=code, content_type=problems.MEDIA_TYPE if code >= 400 else None)

    def told_again(self, request: Request, intent: Intent) -> tuple[int, dict[str, Any]]:
        """The answer to a repeat, whose rows are read."""
        kept = Assessment.objects.for_user(request.user).verdicts_of([intent.pk])[intent.pk]
        known = answer_of(intent, told_of(kept))
        if known is not None:
            return known
        first = Order.objects.values_list("pk", flat=True).get(intent=intent, child=0)
        return status.HTTP_201_CREATED, order_story(request, first)


def order_story(request: Request, order_id: int) -> dict[str, Any]:
    """One order with its events, fills and the verdicts it was allowed by. Raises Http404 for what is not yours."""
    order = reads.order_with_story(request.user, order_id)
    if order is None:
        raise Http404
    return STORY.to_representation(order)


class OrderDetail(DeskEndpoint):
    @extend_schema(
        operation_id="orders_read",
        tags=["orders"],
        summary="One order and its whole story",
        responses={200: OrderDetailSerializer, **problems_of(401, 404, 429)},
    )
    def get(self, request: Request, order_id: int) -> Response:
        return Response(order_story(request, order_id))


class OrderCancel(DeskEndpoint):
    @extend_schema(
        operation_id="orders_cancel",
        tags=["orders"],
        summary="Ask for an order to be cancelled",
        description="The order is cancelled when the broker says so; a fill may still win the race.",
        parameters=[KEY_PARAMETER],
        request=None,
        responses={202: CancelSerializer, **problems_of(400, 401, 403, 404, 409, 422, 429)},
    )
    def post(self, request: Request, order_id: int) -> Response:
        return once(request, lambda _key: self.cancel(request, order_id))

    def cancel(self, request: Request, order_id: int) -> Response:
        mine = Order.objects.for_user(request.user).select_related("account", "instrument")
        order = mine.filter(pk=order_id).first()
        if order is None:
            raise NotFound("ORDER_NOT_FOUND", "There is no such order.")
        asked = order_cancel(order_id=order.pk, actor=request.user.get_username(), now=venue_now(order.account.feed))
        answer = CancelSerializer({"asked": asked, "order": mine.get(pk=order.pk)})
        return Response(answer.data, status=status.HTTP_202_ACCEPTED)


@extend_schema_view(
    get=extend_schema(
        operation_id="positions_list", tags=["positions"], summary="Your positions at the last prices",
        responses={200: PositionSerializer(many=True), **problems_of(401, 429)},
    )
)  # fmt: skip
class Positions(DeskEndpoint, ListAPIView):
    serializer_class = PositionSerializer
    filterset_class = PositionFilter

    def get_queryset(self) -> OwnedQuerySet:
        return Position.objects.for_user(self.request.user).select_related("instrument")

    def paginate_queryset(self, queryset: Any) -> Any:
        page = super().paginate_queryset(queryset)
        reads.attach_values(self.request.user, page or [])
        return page


class PositionClose(DeskEndpoint):
    @extend_schema(
        operation_id="positions_close",
        tags=["positions"],
        summary="Close a position",
        description="Cancels what protects it and sells or buys back the rest at market.",
        parameters=[KEY_PARAMETER],
        request=None,
        responses={202: CloseSerializer, **problems_of(400, 401, 403, 404, 409, 422, 429)},
    )
    def post(self, request: Request, group_id: Any) -> Response:
        return once(request, lambda _key: self.close(request, group_id))

    def close(self, request: Request, group_id: Any) -> Response:
        mine = Group.objects.for_user(request.user).select_related("instrument", "portfolio__account")
        group = mine.filter(pk=group_id).first()
        if group is None:
            raise NotFound("POSITION_NOT_FOUND", "There is no such position.")
        now = venue_now(group.portfolio.account.feed)
        asked = close_position(group_id=group.pk, actor=request.user.get_username(), now=now)
        answer = CloseSerializer({"asked": asked, "group": mine.get(pk=group.pk)})
        return Response(answer.data, status=status.HTTP_202_ACCEPTED)


@extend_schema_view(
    get=extend_schema(
        operation_id="signals_list", tags=["signals"], summary="Signals with their reasons and verdicts",
        responses={200: SignalSerializer(many=True), **problems_of(401, 429)},
    )
)  # fmt: skip
class Signals(DeskEndpoint, ListAPIView):
    serializer_class = SignalSerializer
    filterset_class = SignalFilter
    newest_first = ("-created_at", "-id")

    def get_queryset(self) -> OwnedQuerySet:
        mine = Signal.objects.for_user(self.request.user)
        return mine.select_related("instrument", "deployment__version__contract")

    def paginate_queryset(self, queryset: Any) -> Any:
        page = super().paginate_queryset(queryset)
        reads.attach_verdicts(self.request.user, page or [])
        return page


class Dashboard(DeskEndpoint):
    @extend_schema(
        operation_id="dashboard_read",
        tags=["dashboard"],
        summary="One portfolio at a glance",
        parameters=[OpenApiParameter("portfolio", OpenApiTypes.INT, description="may be left out if you have one")],
        responses={200: DashboardSerializer, **problems_of(401, 404, 422, 429)},
    )
    def get(self, request: Request) -> Response:
        wanted = request.query_params.get("portfolio")
        if wanted is not None and not (wanted.isascii() and wanted.isdigit()):
            raise NotFound("PORTFOLIO_NOT_FOUND", "There is no such portfolio.")
        portfolio = portfolio_of(request, int(wanted) if wanted else None)
        return Response(DashboardSerializer(reads.dashboard(request.user, portfolio)).data)
