"""Ladders by program: those a portfolio may use, and new versions of its own."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from execution.api.engine import PORTFOLIO, asked_portfolio
from execution.engine_settings import publish_ladder
from execution.ladder_plans import ladders_for
from execution.models import LadderPlan
from trading.api.idempotency import once
from trading.api.openapi import KEY_PARAMETER, problems_of
from trading.api.serializers import InstantField, StrictSerializer
from trading.api.views import DeskEndpoint
from trading.domain.errors import NotFound
from trading.portfolio.models import Portfolio


class RungSerializer(StrictSerializer):
    gap_pct = serializers.DecimalField(
        max_digits=7, decimal_places=3, help_text="from the price of the pyramid's first leg: 0 or below"
    )
    weight_pct = serializers.DecimalField(max_digits=7, decimal_places=3, help_text="share; all together are 100")
    take_profit_pct = serializers.DecimalField(max_digits=7, decimal_places=3, help_text="above the leg's own fill")


class LadderAsk(StrictSerializer):
    rungs = RungSerializer(many=True, help_text="one to seven, the first without a gap")
    overrides = serializers.DictField(
        child=RungSerializer(many=True), default=dict, help_text="other rungs of single pyramids, by their index"
    )
    stop_pct = serializers.DecimalField(
        max_digits=6, decimal_places=3, allow_null=True, default=None,
        help_text="percent beyond the furthest leg, where the signal names no stop; null: none",
    )  # fmt: skip


class NamedLadderAsk(LadderAsk):
    name = serializers.CharField(max_length=60)


class LadderSerializer(serializers.ModelSerializer):
    """A ladder as it stands. It never changes: another one under its name is another row, with an id of its own."""

    of_house = serializers.SerializerMethodField(help_text="everybody may use it; a version of your own hides it")
    rungs = serializers.ListField(child=RungSerializer())
    overrides = serializers.DictField(child=serializers.ListField(child=RungSerializer()))
    created_at = InstantField()
    retired_at = InstantField(allow_null=True, help_text="since then another version stands under its name, or none")

    class Meta:
        model = LadderPlan
        fields = ("id", "name", "of_house", "rungs", "overrides", "stop_pct", "created_at", "created_by", "retired_at")
        read_only_fields = fields

    def get_of_house(self, row: LadderPlan) -> bool:
        return row.portfolio_id is None


def _publish(portfolio: Portfolio, name: str, ask: dict[str, Any], actor: str) -> Response:
    values = {key: ask[key] for key in ("overrides", "stop_pct")}
    plan = publish_ladder(
        portfolio=portfolio, name=name, rungs=_plain(ask["rungs"]), actor=actor,
        overrides={index: _plain(rungs) for index, rungs in values["overrides"].items()}, stop_pct=values["stop_pct"],
    )  # fmt: skip
    return Response(LadderSerializer(plan).data)


def _plain(rungs: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [{name: str(value) for name, value in rung.items()} for rung in rungs]


class Ladders(DeskEndpoint):
    @extend_schema(
        operation_id="ladders_list", tags=["engine"], summary="Ladders a portfolio may use, its own first",
        parameters=[PORTFOLIO], responses={200: LadderSerializer(many=True), **problems_of(401, 404, 422, 429)},
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        return Response(LadderSerializer(ladders_for(asked_portfolio(request).pk), many=True).data)

    @extend_schema(
        operation_id="ladders_create", tags=["engine"], summary="Put a ladder in force under its name",
        description="The same content again changes nothing. Another content is a new version: trades go on with the "
        "one they began with, settings that use the name use the new one.",
        parameters=[PORTFOLIO, KEY_PARAMETER], request=NamedLadderAsk,
        responses={200: LadderSerializer, **problems_of(400, 401, 403, 404, 409, 422, 429)},
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        ask = NamedLadderAsk(data=request.data)
        ask.is_valid(raise_exception=True)
        portfolio, values = asked_portfolio(request), ask.validated_data
        actor = request.user.get_username()
        return once(request, lambda _key: _publish(portfolio, values["name"], values, actor))


class Ladder(DeskEndpoint):
    @extend_schema(
        operation_id="ladders_read", tags=["engine"], summary="One ladder, also one that is not in use any more",
        responses={200: LadderSerializer, **problems_of(401, 404, 429)},
    )  # fmt: skip
    def get(self, request: Request, ladder_id: int) -> Response:
        return Response(LadderSerializer(_mine(request, ladder_id)).data)

    @extend_schema(
        operation_id="ladders_change", tags=["engine"], summary="Another version of a ladder of yours",
        description="A new row with a new id under the same name.",
        parameters=[KEY_PARAMETER], request=LadderAsk,
        responses={200: LadderSerializer, **problems_of(400, 401, 403, 404, 409, 422, 429)},
    )  # fmt: skip
    def put(self, request: Request, ladder_id: int) -> Response:
        plan = _mine(request, ladder_id)
        ask = LadderAsk(data=request.data)
        ask.is_valid(raise_exception=True)
        assert plan.portfolio is not None
        portfolio, actor = plan.portfolio, request.user.get_username()
        return once(request, lambda _key: _publish(portfolio, plan.name, ask.validated_data, actor))


def _mine(request: Request, ladder_id: int) -> LadderPlan:
    """One of the person's own. Those of the house are in the list; to change one, put your own under its name."""
    plan = LadderPlan.objects.for_user(request.user).select_related("portfolio").filter(pk=ladder_id).first()
    if plan is None:
        raise NotFound("LADDER_NOT_FOUND", "You have no such ladder.")
    return plan
