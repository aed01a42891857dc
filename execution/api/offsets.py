"""Winners that pay for a loser, by program: a look now, a trade that is passed over once, kept out, or let in again."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from execution.api.engine import PORTFOLIO, asked_portfolio
from execution.models import Group, OffsetLine, OffsetPlan
from execution.services import offset_acts
from trading.api.idempotency import once
from trading.api.openapi import KEY_PARAMETER, problems_of
from trading.api.serializers import StrictSerializer
from trading.api.views import DeskEndpoint
from trading.domain.errors import NotFound
from trading.marketdata.clocks import venue_now

ACTS = {
    "skip": offset_acts.offset_skip_once,
    "block": offset_acts.offset_block,
    "unblock": offset_acts.offset_unblock,
}


class OffsetLineSerializer(serializers.ModelSerializer):
    """One trade of a plan: how much of it. Paise are after charges."""

    symbol = serializers.CharField(source="group.instrument.symbol")

    class Meta:
        model = OffsetLine
        fields = ("group", "symbol", "role", "state", "quantity")


class OffsetPlanSerializer(serializers.ModelSerializer):
    """A loser that is given up, and the winners that are sold to pay for it. Amounts are whole paise."""

    lines = OffsetLineSerializer(many=True)

    class Meta:
        model = OffsetPlan
        fields = (
            "id", "portfolio", "loser", "state", "loss_pct", "required_paise", "covered_paise", "projected_paise",
            "realised_paise", "code", "reason", "venue_at", "created_at", "ended_at", "lines",
        )  # fmt: skip


class OffsetAsk(StrictSerializer):
    act = serializers.ChoiceField(choices=list(ACTS))


class OffsetActSerializer(serializers.Serializer):
    done = serializers.BooleanField(help_text="false: it was so before")


class OffsetRun(DeskEndpoint):
    @extend_schema(
        operation_id="offset_run", tags=["engine"], summary="Look for a loser that winners can pay for, now",
        description="Whether or not looks are switched on. 201: a plan, which the engine carries out. Where there is "
        "nothing to be done the code says why (NO_LOSER, NONE_ELIGIBLE, NOT_COVERED); OFFSET_LIVE: one is under way.",
        parameters=[PORTFOLIO, KEY_PARAMETER], request=None,
        responses={201: OffsetPlanSerializer, **problems_of(400, 401, 403, 404, 409, 422, 429)},
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        portfolio = asked_portfolio(request)

        def run(_key: str) -> Response:
            plan = offset_acts.offset_run_now(
                portfolio_id=portfolio.pk, actor=request.user.get_username(), now=venue_now(portfolio.account.feed)
            )
            return Response(OffsetPlanSerializer(plan).data, status=status.HTTP_201_CREATED)

        return once(request, run)


class OffsetAct(DeskEndpoint):
    @extend_schema(
        operation_id="offset_act", tags=["engine"], summary="Pass a trade over once, keep it out, or let it take part",
        description="`skip`: when it would be given up next its wait begins anew. `block`: it neither pays nor is paid "
        "for. `unblock` takes either back. Safe to repeat.",
        parameters=[KEY_PARAMETER], request=OffsetAsk,
        responses={200: OffsetActSerializer, **problems_of(400, 401, 403, 404, 409, 422, 429)},
    )  # fmt: skip
    def post(self, request: Request, group_id: UUID) -> Response:
        group = Group.objects.for_user(request.user).filter(pk=group_id).first()
        if group is None:
            raise NotFound("UNKNOWN_POSITION", "There is no such position.")
        ask = OffsetAsk(data=request.data)
        ask.is_valid(raise_exception=True)
        return once(request, lambda _key: self.do(request, group, ask.validated_data))

    def do(self, request: Request, group: Group, ask: dict[str, Any]) -> Response:
        done = ACTS[ask["act"]](group_id=group.pk, actor=request.user.get_username())
        return Response({"done": done})
