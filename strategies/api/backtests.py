"""Backtests and research by program: the same runs, limits and bytes as on the pages and the command line."""

import uuid
from typing import Any, cast
from uuid import UUID

from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import User
from accounts.ownership import OwnedQuerySet
from strategies.api.backtest_serializers import RunCreateSerializer, RunSerializer, TradePageSerializer
from strategies.models import BacktestRun
from strategies.reports.compare import Comparison
from strategies.reports.export import FILES, file_of
from strategies.reports.holdings import as_mapping, holdings_risk
from strategies.runs.answers import answer_of, is_uuid, own_backtests, own_run
from strategies.runs.cancel import run_cancel, run_delete
from strategies.runs.create import run_create
from strategies.runs.limits import MOST_SOURCES
from trading.api.idempotency import once
from trading.api.openapi import KEY_PARAMETER, problems_of
from trading.api.views import DeskEndpoint
from trading.domain.errors import NotAllowed, NotFound
from trading.marketdata.clocks import venue_now
from trading.portfolio.models import Portfolio

TRADES = 500


@extend_schema_view(
    get=extend_schema(
        operation_id="backtests_list", tags=["backtests"], summary="Your runs, newest first",
        parameters=[
            OpenApiParameter("kind", OpenApiTypes.STR, enum=BacktestRun.Kind.values),
            OpenApiParameter("state", OpenApiTypes.STR, enum=BacktestRun.State.values),
        ],
        responses={200: RunSerializer(many=True), **problems_of(401, 429)},
    )
)  # fmt: skip
class Backtests(DeskEndpoint, ListAPIView):
    serializer_class = RunSerializer
    newest_first = ("-created_at", "-id")

    def get_queryset(self) -> OwnedQuerySet:
        runs = BacktestRun.objects.for_user(self.request.user).select_related("result")
        runs = runs.defer("result__report", "result__arrays")
        for name, known in (("kind", BacktestRun.Kind.values), ("state", BacktestRun.State.values)):
            if (wanted := self.request.query_params.get(name)) is not None:
                runs = runs.filter(**{name: wanted}) if wanted in known else runs.none()
        return runs

    @extend_schema(
        operation_id="backtests_create",
        tags=["backtests"],
        summary="Ask for a backtest or a study",
        description="202: queued. 422: it cannot be tested, or your queue is full; the code says why.",
        parameters=[KEY_PARAMETER],
        request=RunCreateSerializer,
        responses={202: RunSerializer, **problems_of(400, 401, 403, 404, 409, 413, 415, 422, 429)},
    )
    def post(self, request: Request) -> Response:
        wish = RunCreateSerializer(data=request.data)
        wish.is_valid(raise_exception=True)
        return once(request, lambda key: self.create(request, key, wish.validated_data))

    def create(self, request: Request, key: str, wish: dict[str, Any]) -> Response:
        run = run_create(
            owner=cast(User, request.user), kind=wish["kind"], request=wish.get("request"), study=wish.get("study"),
            key=uuid.uuid5(uuid.NAMESPACE_URL, key), wall=timezone.now(),
        )  # fmt: skip
        return Response(RunSerializer(run).data, status=status.HTTP_202_ACCEPTED)


class BacktestCompare(DeskEndpoint):
    @extend_schema(
        operation_id="backtests_compare", tags=["backtests"], summary="Finished backtests side by side",
        description="Their figures, and the correlation of their daily returns on the days they have in common.",
        parameters=[OpenApiParameter("run", OpenApiTypes.UUID, many=True, description="two to twelve ids")],
        responses={200: OpenApiTypes.OBJECT, **problems_of(401, 404, 422, 429)},
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        ids = list(dict.fromkeys(one for one in request.query_params.getlist("run") if is_uuid(one)))
        return Response(Comparison(own_backtests(int(request.user.pk or 0), ids[: MOST_SOURCES + 1])).as_mapping())


class HoldingsRiskView(DeskEndpoint):
    @extend_schema(
        operation_id="holdings_risk", tags=["backtests"], summary="Concentration and correlation of what is held",
        parameters=[OpenApiParameter("portfolio", OpenApiTypes.INT, description="may be left out if you have one")],
        responses={200: OpenApiTypes.OBJECT, **problems_of(401, 404, 422, 429)},
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        mine = Portfolio.objects.for_user(request.user).select_related("account").order_by("pk")
        if (asked := request.query_params.get("portfolio")) is not None:
            mine = mine.filter(pk=int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 18 else 0)
        found = list(mine[:2])
        if not found:
            raise NotFound("PORTFOLIO_NOT_FOUND", "There is no such portfolio.")
        if len(found) > 1:
            raise NotAllowed("PORTFOLIO_UNCLEAR", "You have several portfolios: say which in `portfolio`.")
        return Response(as_mapping(holdings_risk(found[0], now=venue_now(found[0].account.feed))))


class BacktestDetail(DeskEndpoint):
    @extend_schema(
        operation_id="backtests_read", tags=["backtests"], summary="One run: how far it is, or its figures",
        responses={200: RunSerializer, **problems_of(401, 404, 429)},
    )  # fmt: skip
    def get(self, request: Request, run_id: UUID) -> Response:
        return Response(RunSerializer(own_run(request.user, run_id)).data)

    @extend_schema(
        operation_id="backtests_delete", tags=["backtests"], summary="Delete a run that has ended, with its result",
        responses={204: None, **problems_of(401, 403, 404, 409, 429)},
    )  # fmt: skip
    def delete(self, request: Request, run_id: UUID) -> Response:
        run_delete(run=own_run(request.user, run_id))
        return Response(status=status.HTTP_204_NO_CONTENT)


class BacktestCancel(DeskEndpoint):
    @extend_schema(
        operation_id="backtests_cancel", tags=["backtests"], summary="End a run; safe to repeat", request=None,
        responses={200: RunSerializer, **problems_of(401, 403, 404, 429)},
    )  # fmt: skip
    def post(self, request: Request, run_id: UUID) -> Response:
        run = own_run(request.user, run_id)
        run_cancel(run=run, actor=request.user.get_username(), wall=timezone.now())
        return Response(RunSerializer(own_run(request.user, run_id)).data)


class BacktestReport(DeskEndpoint):
    @extend_schema(
        operation_id="backtests_report", tags=["backtests"], summary="The whole result",
        description="Byte for byte what `manage.py backtest … --json -` prints for the same plan.",
        responses={200: OpenApiTypes.OBJECT, **problems_of(401, 404, 409, 429)},
    )  # fmt: skip
    def get(self, request: Request, run_id: UUID) -> HttpResponse:
        answer = answer_of(own_run(request.user, run_id))
        return HttpResponse(answer.text, content_type="application/json", headers={"Cache-Control": "no-store"})


class BacktestTrades(DeskEndpoint):
    @extend_schema(
        operation_id="backtests_trades", tags=["backtests"], summary="Trades in the order of their exits",
        parameters=[
            OpenApiParameter("first", OpenApiTypes.INT, description="0 is the earliest"),
            OpenApiParameter("count", OpenApiTypes.INT, description=f"at most {TRADES}"),
        ],
        responses={200: TradePageSerializer, **problems_of(400, 401, 404, 409, 429)},
    )  # fmt: skip
    def get(self, request: Request, run_id: UUID) -> Response:
        first, count = self._whole(request, "first", 0), min(self._whole(request, "count", TRADES), TRADES)
        answer = answer_of(own_run(request.user, run_id))
        trades = answer.report.get("trade_list")
        if trades is None:
            raise NotFound("NO_TRADES", "This kind of run has no trades of its own.")
        return Response({"count": len(trades), "first": first, "trades": trades[first : first + count]})

    @staticmethod
    def _whole(request: Request, name: str, usual: int) -> int:
        given = request.query_params.get(name, str(usual))
        if not (given.isascii() and given.isdigit() and len(given) < 10):
            raise ValidationError({name: "Send a whole number."})
        return int(given)


class BacktestExport(DeskEndpoint):
    @extend_schema(
        operation_id="backtests_export", tags=["backtests"], summary="A result as a file",
        parameters=[OpenApiParameter("name", OpenApiTypes.STR, OpenApiParameter.PATH, enum=list(FILES))],
        responses={200: OpenApiTypes.BINARY, **problems_of(401, 404, 409, 429)},
    )  # fmt: skip
    def get(self, request: Request, run_id: UUID, name: str) -> HttpResponse:
        body, kind = file_of(answer_of(own_run(request.user, run_id)), name)
        headers = {"Content-Disposition": f'attachment; filename="{run_id}-{name}"', "Cache-Control": "no-store"}
        return HttpResponse(body, content_type=kind, headers=headers)
