"""How well orders were carried out, by program."""

from dataclasses import asdict
from datetime import timedelta
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from execution.api.views import portfolio_of, problems_of
from execution.quality import DIMENSIONS, LONGEST_DAYS, USUAL_DAYS, Scope, orders_of, quality, quality_of_all
from trading.api.views import DeskEndpoint
from trading.domain.errors import NotAllowed
from trading.marketdata.clocks import venue_now
from trading.venue.sessions import exchange_date

DAYS = [*DIMENSIONS, "day"]


class QualityAsk(serializers.Serializer):
    portfolio = serializers.IntegerField(required=False, min_value=1, help_text="may be left out where there is one")
    since = serializers.DateField(required=False, help_text="first day of the market; thirty days back if left out")
    until = serializers.DateField(required=False, help_text="last day, included; today if left out")
    by = serializers.ChoiceField(choices=DAYS, default="strategy")
    key = serializers.CharField(required=False, default="", max_length=80, help_text="of a line: its orders alone")
    sort = serializers.ChoiceField(
        choices=["slippage", "wire", "ack", "fill", "newest"], default="slippage", help_text="which orders come first"
    )

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        since, until = given.get("since"), given.get("until")
        if since and until and not 0 <= (until - since).days <= LONGEST_DAYS:
            raise serializers.ValidationError({"until": "Not before the first day, and three years after it at most."})
        return given


class SpreadSerializer(serializers.Serializer):
    p50 = serializers.FloatField(allow_null=True)
    p95 = serializers.FloatField(allow_null=True)
    n = serializers.IntegerField(help_text="of how many orders")


class QualityLineSerializer(serializers.Serializer):
    key = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    orders = serializers.IntegerField()
    filled_orders = serializers.IntegerField()
    fill_ratio = serializers.FloatField(allow_null=True, help_text="mean over orders that ended; 1: all of it")
    ended = serializers.IntegerField()
    cost_paise = serializers.IntegerField(help_text="what slippage cost in all, above zero")
    decision_bps = SpreadSerializer(help_text="against the price at the decision; a stop: against its trigger")
    arrival_bps = SpreadSerializer(help_text="against the price when it was sent")
    risk_ms = SpreadSerializer(help_text="signal to the verdict of risk")
    wire_ms = SpreadSerializer(help_text="order written to the wire")
    ack_ms = SpreadSerializer(help_text="wire to the broker's word")
    fill_ms = SpreadSerializer(help_text="that word to the first fill")


class MeasuredSerializer(serializers.Serializer):
    order_id = serializers.IntegerField()
    client_order_id = serializers.CharField()
    placed_at = serializers.DateTimeField()
    symbol = serializers.CharField()
    strategy = serializers.CharField()
    side = serializers.CharField()
    order_type = serializers.CharField()
    reason = serializers.CharField()
    state = serializers.CharField()
    asked = serializers.IntegerField()
    filled = serializers.IntegerField()
    decision_price = serializers.DecimalField(14, 4, allow_null=True)
    arrival_price = serializers.DecimalField(14, 4, allow_null=True)
    trigger_price = serializers.DecimalField(14, 4, allow_null=True)
    fill_price = serializers.DecimalField(14, 4, allow_null=True)
    decision_bps = serializers.FloatField(allow_null=True)
    arrival_bps = serializers.FloatField(allow_null=True)
    cost_paise = serializers.IntegerField(allow_null=True)
    risk_ms = serializers.FloatField(allow_null=True)
    wire_ms = serializers.FloatField(allow_null=True)
    ack_ms = serializers.FloatField(allow_null=True)
    fill_ms = serializers.FloatField(allow_null=True)
    fill_ratio = serializers.FloatField(allow_null=True)


class QualitySerializer(serializers.Serializer):
    portfolio = serializers.IntegerField()
    since = serializers.DateField()
    until = serializers.DateField()
    by = serializers.CharField()
    all = QualityLineSerializer(allow_null=True, help_text="everything together; null: nothing was sent")
    lines = QualityLineSerializer(many=True)
    orders = MeasuredSerializer(many=True, help_text="the first 25 by `sort`")


class ExecutionQuality(DeskEndpoint):
    @extend_schema(
        operation_id="execution_quality", tags=["orders"],
        summary="Slippage, latency by stage and fill ratio, by strategy, instrument, hour, type, reason or day",
        parameters=[QualityAsk, OpenApiParameter("by", OpenApiTypes.STR, enum=DAYS)],
        responses={200: QualitySerializer, **problems_of(400, 401, 404, 422, 429)},
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        ask = QualityAsk(data=request.query_params)
        ask.is_valid(raise_exception=True)
        given = ask.validated_data
        portfolio = portfolio_of(request, given.get("portfolio"))
        until = given.get("until") or exchange_date(venue_now(portfolio.account.feed))
        since = given.get("since") or until - timedelta(days=USUAL_DAYS - 1)
        if since > until:
            raise NotAllowed("DAYS", "The last day is before the first.")
        scope, by = Scope((portfolio.pk,), since, until), given["by"]
        everything = quality_of_all(scope)
        return Response({
            "portfolio": portfolio.pk, "since": since, "until": until, "by": by,
            "all": None if everything is None else QualityLineSerializer(everything).data,
            "lines": [asdict(one) for one in quality(scope, by=by)],
            "orders": MeasuredSerializer(
                orders_of(scope, by=by, key=given["key"], sort=given["sort"]), many=True
            ).data,
        })  # fmt: skip
