"""Large orders by program: asked for, looked at, taken back."""

from datetime import datetime
from typing import Any, cast

from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_serializer
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import User
from execution.api.views import portfolio_of
from execution.deployment_works import choice_of, choose_work
from execution.large_orders import Worked, worked
from execution.models import DeploymentWork, Intent, Order, ParentOrder
from execution.services.parent_advance import parent_withdraw
from execution.services.parent_ask import MOST_MINUTES, MOST_SLICES, large_order_ticket
from strategies.models import Deployment
from trading.api.idempotency import once
from trading.api.openapi import KEY_PARAMETER, problems_of
from trading.api.problems import problem
from trading.api.serializers import PriceField, StrictSerializer, UnitsField
from trading.api.views import DeskEndpoint
from trading.domain.errors import NotFound
from trading.domain.orders import Product, Side
from trading.marketdata.clocks import venue_now

NEWEST = 100


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "Over twenty minutes",
            {
                "symbol": "NSE:SBIN-EQ", "side": "BUY", "quantity": 600, "limit_price": "813.00",
                "stop_price": "804.00", "style": "TWAP", "minutes": 20, "slices": 6,
            },
            request_only=True,
        )
    ]
)  # fmt: skip
class LargeOrderAsk(StrictSerializer):
    """What may be asked. Prices as text, on the tick; quantities in units."""

    portfolio = serializers.IntegerField(
        required=False, min_value=1, help_text="may be left out by who has only one portfolio"
    )
    symbol = serializers.CharField(max_length=60)
    side = serializers.ChoiceField(choices=[side.value for side in Side])
    quantity = UnitsField()
    limit_price = PriceField(help_text="no part of it goes further")
    product = serializers.ChoiceField(choices=[product.value for product in Product], default=Product.INTRADAY.value)
    stop_price = PriceField(required=False, allow_null=True)
    target_price = PriceField(required=False, allow_null=True)
    style = serializers.ChoiceField(choices=ParentOrder.Style.choices)  # type: ignore[assignment]
    minutes = serializers.IntegerField(default=0, min_value=0, max_value=MOST_MINUTES, help_text="of a TWAP")
    slices = serializers.IntegerField(default=0, min_value=0, max_value=MOST_SLICES, help_text="of a TWAP: its turns")
    visible = serializers.IntegerField(default=0, min_value=0, help_text="of an iceberg: units shown at once")


class LargeOrderSerializer(serializers.Serializer):
    """One large order and how far it is. Instants in UTC, of the market but for `created_at` and `ended_at`."""

    id = serializers.IntegerField()
    portfolio = serializers.IntegerField()
    group = serializers.UUIDField(allow_null=True, help_text="the trade it builds up")
    symbol = serializers.CharField()
    side = serializers.CharField()
    product = serializers.CharField()
    style = serializers.ChoiceField(choices=ParentOrder.Style.choices)  # type: ignore[assignment]
    state = serializers.ChoiceField(choices=ParentOrder.State.values)
    wanted_quantity = serializers.IntegerField()
    quantity = serializers.IntegerField(help_text="what risk allowed in all")
    filled_quantity = serializers.IntegerField()
    working_quantity = serializers.IntegerField(help_text="units of parts that are out")
    average_price = serializers.CharField(allow_null=True)
    limit_price = serializers.CharField()
    slices = serializers.IntegerField()
    visible_quantity = serializers.IntegerField()
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    next_at = serializers.DateTimeField(allow_null=True)
    waits = serializers.CharField(allow_blank=True, help_text="why no part was let out at its last turn")
    code = serializers.CharField(allow_blank=True, help_text="why it ends before it is filled")
    said = serializers.CharField(allow_blank=True)
    created_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    orders = serializers.ListField(child=serializers.IntegerField(), help_text="its parts")


class WithdrawSerializer(serializers.Serializer):
    """`asked`: this call asked for it. False when it was asked before, or it had ended."""

    asked = serializers.BooleanField()
    order = LargeOrderSerializer()


def _plain(one: Worked) -> dict[str, Any]:
    parent = one.parent
    names = (
        "id", "side", "product", "style", "state", "wanted_quantity", "quantity", "slices", "visible_quantity",
        "starts_at", "ends_at", "next_at", "waits", "code", "said", "created_at", "ended_at",
    )  # fmt: skip
    return {name: getattr(parent, name) for name in names} | {
        "portfolio": parent.portfolio_id, "group": parent.group_id, "symbol": parent.instrument.symbol,
        "filled_quantity": one.filled, "working_quantity": one.works, "limit_price": f"{parent.limit_price:f}",
        "average_price": None if one.average_price is None else f"{one.average_price:f}",
        "orders": list(
            Order.objects.filter(intent__parent=parent).order_by("pk").values_list("pk", flat=True)
        ),
    }  # fmt: skip


def _mine(request: Request):
    return ParentOrder.objects.for_user(request.user).select_related("instrument", "portfolio__account")


def _told(parents: list[ParentOrder], now: datetime) -> list[dict[str, Any]]:
    return [_plain(one) for one in worked(parents, now=now)]


def _found(request: Request, parent_id: int) -> ParentOrder:
    parent = _mine(request).filter(pk=parent_id).first()
    if parent is None:
        raise NotFound("ORDER_NOT_FOUND", "There is no such order.")
    return parent


class LargeOrders(DeskEndpoint):
    @extend_schema(
        operation_id="large_orders_list", tags=["orders"], summary="Your large orders, the newest hundred",
        responses={200: LargeOrderSerializer(many=True), **problems_of(401, 429)},
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        rows = list(_mine(request)[:NEWEST])
        return Response([] if not rows else _told(rows, venue_now(rows[0].portfolio.account.feed)))

    @extend_schema(
        operation_id="large_orders_place", tags=["orders"], summary="Let a large order out in parts",
        description="Risk judges it as a whole and each part. 201: its first part is on its way, or waits for a yes.",
        parameters=[KEY_PARAMETER], request=LargeOrderAsk,
        responses={201: LargeOrderSerializer, **problems_of(400, 401, 403, 404, 409, 413, 415, 422, 429)},
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        ask = LargeOrderAsk(data=request.data)
        ask.is_valid(raise_exception=True)
        return once(request, lambda key: self.place(request, key, ask.validated_data))

    def place(self, request: Request, key: str, ask: dict[str, Any]) -> Response:
        portfolio = portfolio_of(request, ask.get("portfolio"))
        now = venue_now(portfolio.account.feed)
        parent = large_order_ticket(
            user=cast(User, request.user), portfolio=portfolio, symbol=ask["symbol"], side=Side(ask["side"]),
            quantity=ask["quantity"], limit_price=ask["limit_price"], stop_price=ask.get("stop_price"),
            target_price=ask.get("target_price"), product=Product(ask["product"]), style=ask["style"],
            minutes=ask["minutes"], slices=ask["slices"], visible=ask["visible"], idempotency_key=key,
            source=Intent.Source.API, now=now,
        )  # fmt: skip
        if parent.state == ParentOrder.State.REFUSED:
            return problem(status=422, code=parent.code, detail=parent.said, order=parent.pk)
        return Response(_told([parent], now)[0], status=status.HTTP_201_CREATED)


class LargeOrderDetail(DeskEndpoint):
    @extend_schema(
        operation_id="large_orders_read", tags=["orders"], summary="One large order",
        responses={200: LargeOrderSerializer, **problems_of(401, 404, 429)},
    )  # fmt: skip
    def get(self, request: Request, parent_id: int) -> Response:
        parent = _found(request, parent_id)
        return Response(_told([parent], venue_now(parent.portfolio.account.feed))[0])


class LargeOrderWithdraw(DeskEndpoint):
    @extend_schema(
        operation_id="large_orders_withdraw", tags=["orders"], summary="Take back what is not filled of a large order",
        description="Parts at work are cancelled when the broker says so; what is filled stays. Safe to repeat.",
        parameters=[KEY_PARAMETER], request=None,
        responses={202: WithdrawSerializer, **problems_of(400, 401, 403, 404, 409, 422, 429)},
    )  # fmt: skip
    def post(self, request: Request, parent_id: int) -> Response:
        _found(request, parent_id)
        return once(request, lambda _key: self.withdraw(request, parent_id))

    def withdraw(self, request: Request, parent_id: int) -> Response:
        now = venue_now(_found(request, parent_id).portfolio.account.feed)
        asked = parent_withdraw(parent_id=parent_id, actor=request.user.get_username(), now=now)
        (order,) = _told([_found(request, parent_id)], now)
        return Response({"asked": asked, "order": order}, status=status.HTTP_202_ACCEPTED)


class WorkAsk(StrictSerializer):
    """What may be changed. What is left out stays as it is."""

    style = serializers.ChoiceField(choices=DeploymentWork.Style.choices, required=False)  # type: ignore[assignment]
    from_rupees = serializers.DecimalField(max_digits=14, decimal_places=2, min_value=0, required=False)
    minutes = serializers.IntegerField(min_value=1, max_value=MOST_MINUTES, required=False)
    slices = serializers.IntegerField(min_value=2, max_value=MOST_SLICES, required=False)
    visible_pct = serializers.DecimalField(max_digits=7, decimal_places=3, min_value=1, max_value=50, required=False)


class WorkSerializer(serializers.Serializer):
    """How a deployment's large entries are let out. `version` 0: it never chose, the settings of its portfolio say."""

    version = serializers.IntegerField()
    style = serializers.ChoiceField(choices=DeploymentWork.Style.choices)  # type: ignore[assignment]
    from_rupees = serializers.DecimalField(max_digits=14, decimal_places=2)
    minutes = serializers.IntegerField()
    slices = serializers.IntegerField()
    visible_pct = serializers.DecimalField(max_digits=7, decimal_places=3)
    created_by = serializers.CharField(allow_blank=True)


class DeploymentWorkView(DeskEndpoint):
    @extend_schema(
        operation_id="deployment_work_read", tags=["strategies"], summary="How its large entries are let out",
        responses={200: WorkSerializer, **problems_of(401, 404, 429)},
    )  # fmt: skip
    def get(self, request: Request, deployment_id: int) -> Response:
        if not Deployment.objects.for_user(request.user).filter(pk=deployment_id).exists():
            raise NotFound("UNKNOWN_DEPLOYMENT", "There is no such deployment.")
        never = DeploymentWork(version=0, style=DeploymentWork.Style.FOLLOW)
        return Response(WorkSerializer(choice_of(deployment_id) or never).data)

    @extend_schema(
        operation_id="deployment_work_change", tags=["strategies"], summary="Choose how its large entries are let out",
        description="A new version, in force from its next entry on. The same again makes none.",
        parameters=[KEY_PARAMETER], request=WorkAsk,
        responses={200: WorkSerializer, **problems_of(400, 401, 403, 404, 409, 422, 429)},
    )  # fmt: skip
    def put(self, request: Request, deployment_id: int) -> Response:
        ask = WorkAsk(data=request.data)
        ask.is_valid(raise_exception=True)
        user = cast(User, request.user)

        def choose(_key: str) -> Response:
            given: dict[str, Any] = ask.validated_data
            work = choose_work(deployment_id=deployment_id, values=given, user=user, actor=user.get_username())
            return Response(WorkSerializer(work).data)

        return once(request, choose)
