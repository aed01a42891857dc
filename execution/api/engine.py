"""The signal engine by program: pool, trades with their legs, the queue and its acts, settings as they go to a file."""

import json
from decimal import Decimal
from typing import Any

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from execution.api.serializers import RateField
from execution.api.views import portfolio_of
from execution.engine_settings import changes, draft_settings, publish_settings, settings_as_json, settings_of
from execution.engine_settings import values_from_json as read_file
from execution.engine_view import LegRow, PyramidRow, QueueRow, Sum, TradeRow, engine_view
from execution.models import PartExit, QueuedSignal
from execution.services import queue_acts
from trading.api.idempotency import once
from trading.api.openapi import KEY_PARAMETER, problems_of
from trading.api.views import DeskEndpoint
from trading.domain.errors import NotFound
from trading.marketdata.quotes import last_quotes
from trading.portfolio.models import Portfolio

PORTFOLIO = OpenApiParameter("portfolio", OpenApiTypes.INT, description="whose; may be left out where there is one")


class SettingsAsk(serializers.Serializer):
    """The body is what the file of settings holds, so that an export is an import."""

    settings = serializers.DictField(help_text="names and values; what is left out stays as it is")
    ladders = serializers.ListField(
        child=serializers.DictField(), required=False, help_text="name, rungs, overrides, stop_pct of each"
    )
    preview = serializers.BooleanField(default=False, help_text="only say what would change")


class QueueAsk(serializers.Serializer):
    act = serializers.ChoiceField(choices=["promote", "force", "remove"])


class QueueActSerializer(serializers.Serializer):
    done = serializers.BooleanField(help_text="false: it was asked for before")


def asked_portfolio(request: Request) -> Portfolio:
    """The portfolio that `?portfolio=` names, or the only one of the person."""
    given = request.query_params.get("portfolio")
    if given is not None and not (given.isascii() and given.isdigit()):
        raise NotFound("PORTFOLIO_NOT_FOUND", "There is no such portfolio.")
    return portfolio_of(request, int(given) if given else None)


class Engine(DeskEndpoint):
    @extend_schema(
        operation_id="engine_read", tags=["engine"], summary="Pool, trades with pyramids and legs, queue",
        parameters=[PORTFOLIO], responses={200: OpenApiTypes.OBJECT, **problems_of(401, 404, 422, 429)},
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        portfolio = asked_portfolio(request)
        view = engine_view(portfolio, quotes=last_quotes(portfolio.account.feed), wall=timezone.now())
        return Response({
            "portfolio": portfolio.pk, "settings": str(view.settings),
            "pool": {"taken": view.taken, "most": view.settings.max_open_groups, "free": view.free},
            "trades": [_trade(one) for one in view.trades], "queue": [_queued(one) for one in view.queue],
        })  # fmt: skip


_rate = RateField().to_representation


def _price(value: Decimal | None) -> str | None:
    """Rupees as decimal text, as everywhere in this API."""
    return None if value is None else _rate(value)


def _sum(one: Sum) -> dict[str, Any]:
    return {
        "filled_quantity": one.filled, "held_quantity": one.held, "working_quantity": one.working,
        "average_price": _price(one.average), "target_price": _price(one.target), "progress_pct": one.progress_pct,
    }  # fmt: skip


def _part(part: PartExit) -> dict[str, Any]:
    return {
        "id": part.pk, "reason": part.reason, "quantity": part.quantity, "state": part.state,
        "trigger_price": _price(part.trigger_price), "limit_price": _price(part.limit_price), "rests": part.rests,
    }  # fmt: skip


def _leg(row: LegRow) -> dict[str, Any]:
    leg = row.leg
    return {
        "index": leg.index, "state": row.state, "gap_pct": leg.gap_pct, "weight_pct": leg.weight_pct,
        "take_profit_pct": leg.take_profit_pct, "limit_price": _price(leg.limit_price), "quantity": leg.quantity,
        "blocked_code": leg.blocked_code, "blocked": leg.blocked, "retry_at": leg.retry_at, **_sum(row.sum),
        "parts": [_part(part) for part in row.parts],
    }  # fmt: skip


def _pyramid(row: PyramidRow) -> dict[str, Any]:
    return {
        "index": row.pyramid.index, "entry_price": _price(row.pyramid.entry_price), "quantity": row.pyramid.quantity,
        "signal": row.pyramid.signal_id, **_sum(row.sum), "legs": [_leg(leg) for leg in row.legs],
        "parts": [_part(part) for part in row.parts],
    }  # fmt: skip


def _trade(row: TradeRow) -> dict[str, Any]:
    group = row.group
    return {
        "id": group.pk, "symbol": group.instrument.symbol, "side": group.side, "product": group.product,
        "timeframe": group.timeframe, "state": group.state, "close_reason": group.close_reason,
        "ladder": group.ladder.name if group.ladder else None, "planned_quantity": row.planned,
        "stop_price": _price(group.stop_price), "last_price": _price(row.last),
        "unrealised_paise": row.pnl_paise, **_sum(row.sum),
        "pyramids": [_pyramid(one) for one in row.pyramids], "parts": [_part(part) for part in row.parts],
    }  # fmt: skip


def _queued(row: QueueRow) -> dict[str, Any]:
    one = row.queued
    return {
        "id": one.pk, "signal": one.signal_id, "symbol": one.instrument.symbol, "side": one.side,
        "entry_price": _price(one.entry_price), "cause": one.cause, "rank": one.rank, "rank_reason": one.rank_reason,
        "replacement_count": one.replacement_count, "forced_by": one.force_by, "over_limit": one.over_limit,
        "expires_at": one.expires_at,
    }  # fmt: skip


class QueueAct(DeskEndpoint):
    @extend_schema(
        operation_id="queue_act", tags=["engine"], summary="Promote, force in or remove a waiting signal",
        description="`promote` needs a free slot, `force` makes one over the limit. Safe to repeat.",
        parameters=[KEY_PARAMETER], request=QueueAsk,
        responses={200: QueueActSerializer, **problems_of(400, 401, 403, 404, 409, 422, 429)},
    )  # fmt: skip
    def post(self, request: Request, queued_id: int) -> Response:
        row = QueuedSignal.objects.for_user(request.user).filter(pk=queued_id).first()
        if row is None:
            raise NotFound("QUEUED_NOT_FOUND", "There is no such signal in the queue.")
        ask = QueueAsk(data=request.data)
        ask.is_valid(raise_exception=True)
        return once(request, lambda _key: self.do(request, row, ask.validated_data["act"]))

    def do(self, request: Request, row: QueuedSignal, act: str) -> Response:
        actor = request.user.get_username()
        if act == "remove":
            done = queue_acts.remove(queued_id=row.pk, actor=actor)
        else:
            done = queue_acts.promote(queued_id=row.pk, actor=actor, force=act == "force")
        return Response({"done": done})


class Settings(DeskEndpoint):
    @extend_schema(
        operation_id="engine_settings_read", tags=["engine"], summary="The settings in force, as a backup of them",
        parameters=[PORTFOLIO], responses={200: OpenApiTypes.OBJECT, **problems_of(401, 404, 422, 429)},
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        return Response(_file(asked_portfolio(request)))

    @extend_schema(
        operation_id="engine_settings_change", tags=["engine"], summary="Put settings in force, or a backup of them",
        description="A new version of the portfolio's own, in force at the next cycle. What a read gave may be sent.",
        parameters=[PORTFOLIO, KEY_PARAMETER], request=SettingsAsk,
        responses={200: OpenApiTypes.OBJECT, **problems_of(400, 401, 403, 404, 409, 422, 429)},
    )  # fmt: skip
    def put(self, request: Request) -> Response:
        ask = SettingsAsk(data=request.data)
        ask.is_valid(raise_exception=True)
        return once(request, lambda _key: self.change(request, ask.validated_data))

    def change(self, request: Request, ask: dict[str, Any]) -> Response:
        portfolio = asked_portfolio(request)
        text = json.dumps({"settings": ask["settings"], "ladders": ask.get("ladders", [])}, default=str)
        backup = read_file(text, portfolio=portfolio)
        if ask["preview"]:
            draft = draft_settings(portfolio=portfolio, values=backup.values, ladders=backup.ladders)
            found = changes(settings_of(portfolio.pk), draft)
            return Response({
                "changed": [{"name": one.name, "was": one.was, "now": one.now} for one in found],
                "ladders": [one.name for one in backup.ladders],
            })  # fmt: skip
        actor = request.user.get_username()
        publish_settings(portfolio=portfolio, values=backup.values, ladders=backup.ladders, actor=actor)
        return Response(_file(portfolio))


def _file(portfolio: Portfolio) -> dict[str, Any]:
    settings = settings_of(portfolio.pk)
    body: dict[str, Any] = json.loads(settings_as_json(settings))
    return body | {"of_house": settings.portfolio_id is None}
