"""Hooks by program: made, rotated, switched and read by their owner. Alerts themselves come in at `/hooks/<id>/`."""

from typing import Any
from uuid import UUID

from django.http import JsonResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers, status
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.ownership import OwnedQuerySet
from execution.api.views import portfolio_of
from execution.hooks.keep import hook_change, hook_create, hook_rotate, hook_switch
from execution.hooks.receive import replay
from execution.ladder_plans import ladders_for
from execution.models import Delivery, Hook
from trading.api.idempotency import key_of
from trading.api.openapi import KEY_PARAMETER, problems_of
from trading.api.problems import MEDIA_TYPE
from trading.api.serializers import InstantField, StrictSerializer
from trading.api.views import DeskEndpoint
from trading.domain.errors import NotFound
from trading.domain.orders import Product
from trading.portfolio.models import Portfolio


class HookSerializer(serializers.ModelSerializer):
    """A hook, without its secret."""

    address = serializers.CharField(source="path", read_only=True, help_text="where alerts go, without the host")
    portfolio = serializers.IntegerField(source="portfolio_id")
    ladder = serializers.IntegerField(source="ladder_id", allow_null=True)
    created_at = InstantField()
    old_secret_until = InstantField(allow_null=True)

    class Meta:
        model = Hook
        fields = (
            "id", "name", "portfolio", "address", "authentication", "secret_in_address", "max_age_s",
            "allowed_addresses", "rate_per_minute", "enabled", "product", "ladder", "timeframe", "default_action",
            "old_secret_until", "created_at",
        )  # fmt: skip
        read_only_fields = fields


class HookWithSecretSerializer(HookSerializer):
    """A hook with the secret that was just made: shown in this answer and never again."""

    secret = serializers.CharField(read_only=True)

    class Meta(HookSerializer.Meta):
        fields = (*HookSerializer.Meta.fields, "secret")  # type: ignore[assignment]
        read_only_fields = fields  # type: ignore[assignment]


class HookFieldsSerializer(StrictSerializer):
    """What a hook asks for and adds."""

    name = serializers.CharField(max_length=60)
    authentication = serializers.ChoiceField(Hook.Authentication.choices, default=Hook.Authentication.EITHER)
    secret_in_address = serializers.BooleanField(default=False)
    max_age_s = serializers.IntegerField(min_value=1, max_value=86_400, default=120)
    allowed_addresses = serializers.ListField(child=serializers.CharField(max_length=60), default=list, max_length=100)
    rate_per_minute = serializers.IntegerField(min_value=1, max_value=60_000, default=120)
    product = serializers.ChoiceField([(one.value, one.value) for one in Product], default=Product.INTRADAY.value)
    timeframe = serializers.CharField(max_length=8, allow_blank=True, default="")
    default_action = serializers.ChoiceField(Hook.Action.choices, allow_blank=True, default="")
    ladder = serializers.IntegerField(
        min_value=1, allow_null=True, default=None, help_text="how its trades are built up; null: as the settings say"
    )


class HookWishSerializer(HookFieldsSerializer):
    portfolio = serializers.IntegerField(required=False, help_text="needed where you have several")


class RotateSerializer(StrictSerializer):
    at_once = serializers.BooleanField(default=False, help_text="shut the old secret out now, not in a day")


class SwitchSerializer(StrictSerializer):
    enabled = serializers.BooleanField()


class DeliverySerializer(serializers.ModelSerializer):
    """One alert that came in, its secrets masked."""

    hook = serializers.UUIDField(source="hook_id")
    replay_of = serializers.UUIDField(source="replay_of_id", allow_null=True)
    signals = serializers.SerializerMethodField()
    received_at = InstantField()
    errors = serializers.ListField(child=serializers.DictField())  # type: ignore[assignment]

    class Meta:
        model = Delivery
        fields = (
            "id", "hook", "received_at", "outcome", "status", "code", "detail", "errors", "dialect", "remote_ip",
            "duration_ms", "body", "replay_of", "signals",
        )  # fmt: skip
        read_only_fields = fields

    def get_signals(self, row: Delivery) -> list[str]:
        return [str(signal.pk) for signal in row.signals.all()]


def hook_of(request: Request, hook_id: UUID) -> Hook:
    found = Hook.objects.for_user(request.user).select_related("portfolio").filter(pk=hook_id).first()
    if found is None:
        raise NotFound("HOOK_NOT_FOUND", "There is no such hook.")
    return found


def _values(given: dict[str, Any], portfolio: Portfolio) -> dict[str, Any]:
    """Fields of a hook as its services take them: the ladder is one that the portfolio may use."""
    if given.get("ladder") is None:
        return given
    plan = next((one for one in ladders_for(portfolio.pk) if one.pk == given["ladder"]), None)
    if plan is None:
        raise NotFound("UNKNOWN_LADDER", "The portfolio has no such ladder.")
    return given | {"ladder": plan}


def _with_secret(hook: Hook, secret: str) -> dict[str, Any]:
    return {**HookSerializer(hook).data, "secret": secret}


@extend_schema_view(
    get=extend_schema(
        operation_id="hooks_list", tags=["hooks"], summary="Your hooks",
        responses={200: HookSerializer(many=True), **problems_of(401, 429)},
    )
)  # fmt: skip
class Hooks(DeskEndpoint, ListAPIView):
    serializer_class = HookSerializer

    def get_queryset(self) -> OwnedQuerySet:
        return Hook.objects.for_user(self.request.user).order_by("-created_at")

    @extend_schema(
        operation_id="hooks_create", tags=["hooks"], summary="Open a hook",
        description="Its secret is in this answer and in no other.", request=HookWishSerializer,
        responses={201: HookWithSecretSerializer, **problems_of(400, 401, 403, 404, 422, 429)},
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        given = HookWishSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        wish = dict(given.validated_data)
        portfolio = portfolio_of(request, wish.pop("portfolio", None))
        hook, secret = hook_create(
            portfolio=portfolio, values=_values(wish, portfolio), actor=request.user.get_username(), wall=timezone.now()
        )
        return Response(_with_secret(hook, secret), status=status.HTTP_201_CREATED)


class HookDetail(DeskEndpoint):
    @extend_schema(
        operation_id="hooks_read", tags=["hooks"], summary="One hook",
        responses={200: HookSerializer, **problems_of(401, 404, 429)},
    )  # fmt: skip
    def get(self, request: Request, hook_id: UUID) -> Response:
        return Response(HookSerializer(hook_of(request, hook_id)).data)

    @extend_schema(
        operation_id="hooks_change", tags=["hooks"], summary="Change what a hook asks for",
        description="Only what is named is changed, in force at the next alert. Safe to repeat.",
        request=HookFieldsSerializer(partial=True),
        responses={200: HookSerializer, **problems_of(400, 401, 403, 404, 422, 429)},
    )  # fmt: skip
    def patch(self, request: Request, hook_id: UUID) -> Response:
        hook = hook_of(request, hook_id)
        given = HookFieldsSerializer(data=request.data, partial=True)
        given.is_valid(raise_exception=True)
        values = _values(dict(given.validated_data), hook.portfolio)
        hook_change(hook=hook, values=values, actor=request.user.get_username())
        return Response(HookSerializer(hook_of(request, hook_id)).data)


class HookRotate(DeskEndpoint):
    @extend_schema(
        operation_id="hooks_rotate", tags=["hooks"], summary="A new secret", request=RotateSerializer,
        description="The old secret opens for a day more, or with `at_once` not any more.",
        responses={200: HookWithSecretSerializer, **problems_of(400, 401, 403, 404, 429)},
    )  # fmt: skip
    def post(self, request: Request, hook_id: UUID) -> Response:
        hook = hook_of(request, hook_id)
        given = RotateSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        row, secret = hook_rotate(
            hook=hook, actor=request.user.get_username(), wall=timezone.now(), at_once=given.validated_data["at_once"]
        )
        return Response(_with_secret(row, secret))


class HookSwitch(DeskEndpoint):
    @extend_schema(
        operation_id="hooks_switch", tags=["hooks"], summary="Switch a hook on or off", request=SwitchSerializer,
        responses={200: HookSerializer, **problems_of(400, 401, 403, 404, 429)},
    )  # fmt: skip
    def post(self, request: Request, hook_id: UUID) -> Response:
        hook = hook_of(request, hook_id)
        given = SwitchSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        hook_switch(hook=hook, enabled=given.validated_data["enabled"], actor=request.user.get_username())
        return Response(HookSerializer(hook_of(request, hook_id)).data)


@extend_schema_view(
    get=extend_schema(
        operation_id="hook_deliveries_list", tags=["hooks"], summary="What came in by your hooks, newest first",
        responses={200: DeliverySerializer(many=True), **problems_of(401, 429)},
    )
)  # fmt: skip
class Deliveries(DeskEndpoint, ListAPIView):
    serializer_class = DeliverySerializer
    filterset_fields = ("hook", "outcome", "code")

    def get_queryset(self) -> OwnedQuerySet:
        return Delivery.objects.for_user(self.request.user).prefetch_related("signals").order_by("-received_at")


class DeliveryReplay(DeskEndpoint):
    @extend_schema(
        operation_id="hook_deliveries_replay", tags=["hooks"], summary="Run an alert once more",
        description="As a new delivery, marked, whatever its age. 202: its signals. 200: this key replayed it before.",
        parameters=[KEY_PARAMETER], request=None,
        responses={200: dict, 202: dict, **problems_of(400, 401, 403, 404, 422, 429)},
    )  # fmt: skip
    def post(self, request: Request, delivery_id: UUID) -> JsonResponse:
        rows = Delivery.objects.for_user(request.user)
        rows = rows.select_related("hook__portfolio__account", "hook__portfolio__owner")
        delivery = get_object_or_404(rows, pk=delivery_id)
        reply = replay(delivery, token=key_of(request), actor=request.user.get_username(), wall=timezone.now())
        kind = MEDIA_TYPE if reply.status >= 400 else "application/json"
        return JsonResponse(reply.body, status=reply.status, headers=dict(reply.headers), content_type=kind)
