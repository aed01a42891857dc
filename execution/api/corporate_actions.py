"""Corporate actions for programs: seen by everybody, entered and withdrawn by operators."""

from dataclasses import asdict
from decimal import Decimal
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema, extend_schema_serializer
from rest_framework import serializers, status
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.console import may_operate
from execution.action_touch import touched_by
from trading.api.openapi import problems_of
from trading.api.serializers import StrictSerializer
from trading.api.views import DeskEndpoint
from trading.domain.errors import NotFound
from trading.marketdata.listing.announcements import Form, Terms, announce_action, preview_action, withdraw_action
from trading.marketdata.listing.identities import instrument_named
from trading.marketdata.models import CorporateAction, Instrument

MOST = 500
WISH = {"symbol": "NSE:RELIANCE-EQ", "ex_date": "2026-10-28", "form": "BONUS", "new": 1, "old": 1, "source": "CML1"}


class ActionSerializer(serializers.ModelSerializer):
    """`factor`: what prices before the ex-date are multiplied by; of an ANNOUNCED one it is not known yet."""

    symbol = serializers.CharField(source="instrument.symbol")
    factor = serializers.CharField(source="known_factor", allow_null=True)

    class Meta:
        model = CorporateAction
        fields = ("id", "symbol", "ex_date", "kind", "factor", "state", "terms", "note")
        read_only_fields = fields


@extend_schema_serializer(examples=[OpenApiExample("a bonus", WISH, request_only=True)])
class AnnouncementSerializer(StrictSerializer):
    symbol = serializers.CharField(max_length=60, help_text="any name the instrument has or had")
    ex_date = serializers.DateField(help_text="first day that trades without it")
    form = serializers.ChoiceField(choices=[one.value for one in Form])
    new = serializers.IntegerField(required=False, min_value=1, max_value=1000)
    old = serializers.IntegerField(required=False, min_value=1, max_value=1000)
    amount = serializers.DecimalField(max_digits=12, decimal_places=4, required=False, help_text="rupees")
    kept_pct = serializers.DecimalField(max_digits=7, decimal_places=4, required=False)
    factor = serializers.DecimalField(max_digits=16, decimal_places=10, required=False)
    source = serializers.CharField(  # type: ignore[assignment]  # a field of ours, not the serializer's own
        max_length=200, help_text="the notice or circular that says so"
    )
    note = serializers.CharField(max_length=300, required=False, allow_blank=True, default="")
    preview = serializers.BooleanField(default=False, help_text="only tell what would change")


class WithdrawalSerializer(StrictSerializer):
    symbol = serializers.CharField(max_length=60)
    ex_date = serializers.DateField()
    note = serializers.CharField(max_length=300, help_text="why")


class CorporateActions(DeskEndpoint):
    @extend_schema(
        operation_id="corporate_actions", tags=["market data"], summary="Corporate actions, newest first",
        parameters=[OpenApiParameter("symbol", str)],
        responses={200: ActionSerializer(many=True), **problems_of(401, 404)},
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        rows = CorporateAction.objects.select_related("instrument").order_by("-ex_date", "-pk")
        if symbol := request.query_params.get("symbol", ""):
            rows = rows.filter(instrument=_named(symbol))
        return Response(ActionSerializer(rows[:MOST], many=True).data)

    @extend_schema(
        operation_id="corporate_action_announce", tags=["market data"], summary="Enter what was announced",
        description="Operators only. The same again changes nothing. With `preview` nothing is entered and the answer"
        " tells the factor, the stored bars whose adjusted view changes, and what is held, open or watching.",
        request=AnnouncementSerializer,
        responses={200: dict, 201: ActionSerializer, **problems_of(400, 401, 403, 404, 409)},
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        _for_operators(request)
        asked = AnnouncementSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        given = asked.validated_data
        share, day = _named(given["symbol"]), given["ex_date"]
        numbers = (given.get(name) for name in ("new", "old", "amount", "kept_pct", "factor"))
        terms = Terms(Form(given["form"]), *numbers)
        if given["preview"]:
            seen = preview_action(instrument=share, ex_date=day, terms=terms)
            told: dict[str, Any] = {
                **asdict(seen), "terms": seen.terms.as_dict(), "factor": _text(seen.factor),
                "close_before": _text(seen.close_before),
                "bars": [{"feed": feed, "timeframe": minutes, "bars": bars} for feed, minutes, bars in seen.bars],
                "days": [{"day": at, "close": _text(one), "adjusted": _text(after)} for at, one, after in seen.days],
                "touched": [asdict(one) for one in touched_by(share, on=day)],
            }  # fmt: skip
            return Response(told)
        row = announce_action(
            instrument=share, ex_date=day, terms=terms, source=given["source"], note=given["note"],
            actor=request.user.get_username(), now=timezone.now(),
        )  # fmt: skip
        return Response(ActionSerializer(row).data, status=status.HTTP_201_CREATED)


class CorporateActionWithdraw(DeskEndpoint):
    @extend_schema(
        operation_id="corporate_action_withdraw", tags=["market data"], summary="It was entered wrongly",
        description="Operators only. What prices had made suspect before is suspected again.",
        request=WithdrawalSerializer, responses={200: ActionSerializer, **problems_of(400, 401, 403, 404, 409)},
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        _for_operators(request)
        asked = WithdrawalSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        given = asked.validated_data
        known = CorporateAction.objects.filter(instrument=_named(given["symbol"]), ex_date=given["ex_date"]).first()
        if known is None:
            raise NotFound("ACTION_NOT_FOUND", "There is no such corporate action.")
        row = withdraw_action(
            action_id=known.pk, actor=request.user.get_username(), note=given["note"],
            now=timezone.now(),
        )  # fmt: skip
        return Response(ActionSerializer(row).data)


def _text(number: Decimal | None) -> str | None:
    return None if number is None else f"{number.normalize():f}"


def _for_operators(request: Request) -> None:
    if not may_operate(request):  # type: ignore[arg-type]  # it asks for the user alone
        raise PermissionDenied("Corporate actions are entered by operators.")


def _named(symbol: str) -> Instrument:
    found = instrument_named(symbol.strip().upper()[:60]) if symbol.isprintable() else None
    if found is None:
        raise NotFound("UNKNOWN_INSTRUMENT", "No instrument has or had that symbol.")
    return found
