"""Backfills: asked for by whoever owns a broker account, worked on by the desk, seen with rate and remaining time."""

from datetime import date
from typing import Any
from uuid import UUID

from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_serializer, extend_schema_view
from rest_framework import serializers, status
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import BrokerAccount
from accounts.ownership import OwnedQuerySet
from execution.api.views import problems_of
from execution.backfills import backfill_ask
from trading.api.serializers import InstantField, StrictSerializer
from trading.api.views import DeskEndpoint
from trading.domain.errors import NotAllowed, NotFound
from trading.marketdata.fetching.backfill import TIMEFRAMES, backfill_cancel
from trading.marketdata.fetching.tally import calls_saved
from trading.marketdata.models import Backfill, Feed

EXAMPLE = {
    "id": "0d6c3f0e-5f0e-4b9e-8b0a-4f1a6d2c9e11", "title": "NSE:SBIN-EQ and 49 more 1m, 2026-01-01 to 2026-03-30",
    "feed": "NSE", "timeframe": 1, "from_date": "2026-01-01", "to_date": "2026-03-30", "state": "RUNNING",
    "instruments": 50, "position": 12, "percent": 24, "needed": 50, "calls": 9, "saved": 3, "bars": 202500,
    "stored": 202500, "bars_per_s": 22500.0, "seconds_left": 38.0, "failed": {}, "error": "",
    "created_at": "2026-03-30T10:15:00Z", "finished_at": None,
}  # fmt: skip


@extend_schema_serializer(examples=[OpenApiExample("a backfill at work", EXAMPLE, response_only=True)])
class BackfillSerializer(serializers.ModelSerializer):
    """How far it is. `needed`: requests it would take to fetch everything; `saved`: those that were not needed."""

    feed = serializers.CharField(source="feed.name")
    instruments = serializers.SerializerMethodField()
    bars_per_s = serializers.SerializerMethodField()
    seconds_left = serializers.SerializerMethodField()
    created_at = InstantField()
    finished_at = InstantField(allow_null=True)

    class Meta:
        model = Backfill
        fields = (
            "id", "title", "feed", "timeframe", "from_date", "to_date", "state", "instruments", "position", "percent",
            "needed", "calls", "saved", "bars", "stored", "bars_per_s", "seconds_left", "failed", "error", "created_at",
            "finished_at",
        )  # fmt: skip
        read_only_fields = fields

    def get_instruments(self, row: Backfill) -> int:
        return len(row.symbols)

    def get_bars_per_s(self, row: Backfill) -> float | None:
        return row.pace(timezone.now())[0]

    def get_seconds_left(self, row: Backfill) -> float | None:
        return row.pace(timezone.now())[1]


class BackfillWishSerializer(StrictSerializer):
    account = serializers.IntegerField(required=False, help_text="whose broker is asked; needed where you have several")
    symbols = serializers.ListField(child=serializers.CharField(max_length=60), required=False, max_length=5_000)
    universe = serializers.CharField(max_length=60, required=False, help_text="all its members, instead of symbols")
    timeframe = serializers.ChoiceField(choices=TIMEFRAMES, default=1, help_text="minutes; 1440 is a day")
    from_date = serializers.DateField()
    to_date = serializers.DateField(required=False, help_text="included; today where it is left out")


class CallsSavedSerializer(serializers.Serializer):
    feed = serializers.CharField()
    needed = serializers.IntegerField(help_text="requests that would have fetched all that was wanted")
    calls = serializers.IntegerField(help_text="requests that were made")
    saved = serializers.IntegerField()
    saved_pct = serializers.FloatField()
    bars = serializers.IntegerField(help_text="bars that the calls brought")


def account_of(request: Request, account_id: int | None) -> BrokerAccount:
    """The named account of the caller, or the only one."""
    mine = BrokerAccount.objects.for_user(request.user).order_by("pk")
    found = list((mine.filter(pk=account_id) if account_id is not None else mine)[:2])
    if not found:
        raise NotFound("ACCOUNT_NOT_FOUND", "There is no such broker account.")
    if len(found) > 1:
        raise NotAllowed("ACCOUNT_UNCLEAR", "You have several broker accounts: say which in `account`.")
    return found[0]


@extend_schema_view(
    get=extend_schema(
        operation_id="backfills_list", tags=["market data"], summary="Your backfills, newest first",
        responses={200: BackfillSerializer(many=True), **problems_of(401, 429)},
    )
)  # fmt: skip
class Backfills(DeskEndpoint, ListAPIView):
    serializer_class = BackfillSerializer
    filterset_fields = ("state",)

    def get_queryset(self) -> OwnedQuerySet:
        return Backfill.objects.for_user(self.request.user).select_related("feed")

    @extend_schema(
        operation_id="backfills_start", tags=["market data"], summary="Fetch the past of instruments",
        description="Only what is missing is fetched. Asked for again while it is open, it is the same backfill (200).",
        request=BackfillWishSerializer,
        responses={200: BackfillSerializer, 201: BackfillSerializer, **problems_of(400, 401, 403, 404, 422, 429)},
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        given = BackfillWishSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        wish: dict[str, Any] = given.validated_data
        began = timezone.now()
        row = backfill_ask(
            user=request.user, account=account_of(request, wish.get("account")), symbols=wish.get("symbols", []),
            universe=wish.get("universe", ""), timeframe=wish["timeframe"], from_date=wish["from_date"],
            to_date=wish.get("to_date") or timezone.localdate(),
        )  # fmt: skip
        code = status.HTTP_201_CREATED if row.created_at >= began else status.HTTP_200_OK
        return Response(BackfillSerializer(row).data, status=code)


def backfill_of(request: Request, backfill_id: UUID) -> Backfill:
    row = Backfill.objects.for_user(request.user).select_related("feed").filter(pk=backfill_id).first()
    if row is None:
        raise NotFound("BACKFILL_NOT_FOUND", "There is no such backfill.")
    return row


class BackfillDetail(DeskEndpoint):
    @extend_schema(
        operation_id="backfills_read", tags=["market data"], summary="One backfill, how far it is",
        responses={200: BackfillSerializer, **problems_of(401, 404, 429)},
    )  # fmt: skip
    def get(self, request: Request, backfill_id: UUID) -> Response:
        return Response(BackfillSerializer(backfill_of(request, backfill_id)).data)


class BackfillCancel(DeskEndpoint):
    @extend_schema(
        operation_id="backfills_cancel", tags=["market data"], summary="End a backfill",
        description="What was fetched stays. One that is over stays as it is.", request=None,
        responses={200: BackfillSerializer, **problems_of(401, 403, 404, 429)},
    )  # fmt: skip
    def post(self, request: Request, backfill_id: UUID) -> Response:
        backfill_cancel(backfill=backfill_of(request, backfill_id), wall=timezone.now())
        return Response(BackfillSerializer(backfill_of(request, backfill_id)).data)


class CallsSaved(DeskEndpoint):
    @extend_schema(
        operation_id="calls_saved", tags=["market data"], summary="Requests to brokers' histories that were not needed",
        description="Of every feed, since the desk began to count.",
        responses={200: CallsSavedSerializer(many=True), **problems_of(401, 429)},
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        told = []
        for feed in Feed.objects.exclude(kind=Feed.Kind.REPLAY).order_by("name"):
            sums = calls_saved(feed, first=date.min, last=date.max)
            told.append(
                {"feed": feed.name, "needed": sums.needed, "calls": sums.calls, "saved": sums.saved,
                 "saved_pct": sums.saved_pct, "bars": sums.bars}
            )  # fmt: skip
        return Response(CallsSavedSerializer(told, many=True).data)
