"""Orders, positions and signals as programs see them: money in rupees as decimal text, instants in UTC."""

import re
from decimal import Decimal
from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from execution.models import Fill, Group, Intent, Order, OrderEvent
from risk.assess import Judged
from risk.gates.finding import Outcome
from risk.models import Verdict
from strategies.models import Signal
from trading.api.serializers import (
    MAX_PRICE,
    MAX_UNITS,
    InstantField,
    PriceField,
    RateField,
    RupeesField,
    StrictSerializer,
    UnitsField,
)
from trading.domain.orders import OrderType, Product, Side

MAX_NUMBER = 2**63 - 1  # of a row
_FOUR_PLACES = Decimal("0.0001")


class VerdictSerializer(serializers.Serializer):
    position = serializers.IntegerField(help_text="place in the order of the gates")
    gate = serializers.CharField()
    outcome = serializers.ChoiceField(choices=[(one, one) for one in Outcome])
    quantity = serializers.IntegerField(min_value=0, help_text="units allowed after this gate")
    value = serializers.CharField(help_text="what the gate measured")
    limit = serializers.CharField(help_text="what it may be")
    message = serializers.CharField()
    policy = serializers.CharField(help_text="policy and version that set the limit")
    at = InstantField(help_text="venue time")

    def to_representation(self, instance: Verdict) -> dict[str, Any]:
        """As the fields would, without asking each of them for each of forty verdicts."""
        return {name: getattr(instance, name) for name in instance.__slots__} | {
            "at": _INSTANT.to_representation(instance.at)
        }


_INSTANT = InstantField()
_RATE = RateField()


def _rate(price: Decimal | None) -> str | None:
    return None if price is None else _RATE.to_representation(price)


def verdicts_told(judged: Judged) -> list[dict[str, Any]]:
    """The same of verdicts that were stored a moment ago."""
    at = _INSTANT.to_representation(judged.snapshot.now)
    return [
        {
            "position": position, "gate": one.gate, "outcome": one.outcome, "quantity": one.quantity,
            "value": one.value[:60], "limit": one.limit[:60], "message": one.message[:240],
            "policy": judged.policy[:80], "at": at,
        }
        for position, one in enumerate(judged.verdict.findings)
    ]  # fmt: skip


class FillSerializer(serializers.ModelSerializer):
    price = RateField()
    value = RupeesField(source="value_paise")
    filled_at = InstantField()

    class Meta:
        model = Fill
        fields = ("broker_trade_id", "quantity", "price", "value", "filled_at", "source")
        read_only_fields = fields


class OrderEventSerializer(serializers.ModelSerializer):
    at = InstantField()

    class Meta:
        model = OrderEvent
        fields = ("seq", "kind", "source", "from_state", "to_state", "applied", "at")
        read_only_fields = fields


ORDER_EXAMPLE = {
    "id": 41,
    "client_order_id": "TP7K2M9QX4B1",
    "broker_order_id": "26021600000041",
    "portfolio": 1,
    "group": "0d6c3f0e-5f0e-4b9e-8b0a-4f1a6d2c9e11",
    "intent": "a8c1f7d2-6a25-4f0b-9f0c-1f6a1f0d7b21",
    "child": 0,
    "symbol": "NSE:SBIN-EQ",
    "side": "BUY",
    "quantity": 10,
    "filled_quantity": 4,
    "order_type": "LIMIT",
    "product": "INTRADAY",
    "reason": "ENTRY",
    "limit_price": "812.35",
    "trigger_price": None,
    "average_price": "812.30",
    "charges": "1.42",
    "state": "OPEN",
    "pending_op": "NONE",
    "broker_message": "",
    "placed_at": "2026-02-16T04:15:00Z",
    "created_at": "2026-02-16T04:15:00Z",
    "sent_at": "2026-02-16T04:15:00Z",
    "acked_at": "2026-02-16T04:15:00Z",
    "done_at": None,
}


@extend_schema_serializer(examples=[OpenApiExample("Partly filled", ORDER_EXAMPLE, response_only=True)])
class OrderSerializer(serializers.ModelSerializer):
    group = serializers.UUIDField(source="group_id", read_only=True)
    intent = serializers.UUIDField(source="intent_id", read_only=True)
    symbol = serializers.CharField(source="instrument.symbol", read_only=True)
    limit_price = RateField(allow_null=True)
    trigger_price = RateField(allow_null=True)
    average_price = RateField(allow_null=True)
    charges = RupeesField(source="charges_paise")
    placed_at = InstantField(help_text="venue time of the decision; the other instants are wall time")
    created_at = InstantField()
    sent_at = InstantField(allow_null=True)
    acked_at = InstantField(allow_null=True)
    done_at = InstantField(allow_null=True)

    class Meta:
        model = Order
        fields: tuple[str, ...] = (
            "id", "client_order_id", "broker_order_id", "portfolio", "group", "intent", "child", "symbol", "side",
            "quantity", "filled_quantity", "order_type", "product", "reason", "limit_price", "trigger_price",
            "average_price", "charges", "state", "pending_op", "broker_message", "placed_at", "created_at", "sent_at",
            "acked_at", "done_at",
        )  # fmt: skip
        read_only_fields = fields


class OrderDetailSerializer(OrderSerializer):
    """The whole story of one order."""

    events = OrderEventSerializer(many=True, read_only=True, source="told")
    fills = FillSerializer(many=True, read_only=True, source="filled")
    verdicts = VerdictSerializer(many=True, read_only=True)

    class Meta(OrderSerializer.Meta):
        fields = (*OrderSerializer.Meta.fields, "events", "fills", "verdicts")
        read_only_fields = fields

    def as_queued(self, order: Order, verdicts: list[dict[str, Any]]) -> dict[str, Any]:
        """The same of an order that was written a moment ago, with verdicts as they are shown: what the fields would
        say of it, without asking each of them."""
        created_at, state = _INSTANT.to_representation(order.created_at), str(order.state)
        event = {
            "seq": 1, "kind": "order.queued", "source": "RISK", "from_state": state, "to_state": state,
            "applied": True, "at": created_at,
        }  # fmt: skip
        known = {
            "id": order.pk, "client_order_id": order.client_order_id, "portfolio": order.portfolio_id,
            "group": str(order.group_id), "intent": str(order.intent_id), "child": order.child,
            "symbol": order.instrument.symbol, "side": str(order.side), "quantity": order.quantity,
            "filled_quantity": 0, "order_type": str(order.order_type), "product": str(order.product),
            "reason": str(order.reason), "limit_price": _rate(order.limit_price),
            "trigger_price": _rate(order.trigger_price), "charges": "0.00", "state": state,
            "pending_op": str(order.pending_op), "broker_message": "",
            "placed_at": _INSTANT.to_representation(order.placed_at), "created_at": created_at,
            "events": [event], "fills": [], "verdicts": verdicts,
        }  # fmt: skip
        return {name: known.get(name) for name in self.Meta.fields}  # all else is not known yet


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "A protected limit buy",
            {
                "symbol": "NSE:SBIN-EQ",
                "side": "BUY",
                "quantity": 10,
                "order_type": "LIMIT",
                "product": "INTRADAY",
                "limit_price": "812.35",
                "stop_price": "804.00",
                "target_price": "829.00",
            },
            request_only=True,
        )
    ]
)
class OrderTicketSerializer(StrictSerializer):
    """What may be asked. Prices as text, on the tick; the quantity in units."""

    portfolio = serializers.IntegerField(
        required=False, min_value=1, help_text="may be left out by who has only one portfolio"
    )
    symbol = serializers.CharField(max_length=60)
    side = serializers.ChoiceField(choices=[side.value for side in Side])
    quantity = UnitsField()
    order_type = serializers.ChoiceField(choices=[OrderType.LIMIT.value, OrderType.MARKET.value])
    product = serializers.ChoiceField(choices=[product.value for product in Product], default=Product.INTRADAY.value)
    limit_price = PriceField(required=False, allow_null=True)
    stop_price = PriceField(
        required=False, allow_null=True, help_text="where an opening order is given up; risk asks for it"
    )
    target_price = PriceField(required=False, allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        has_limit = attrs.get("limit_price") is not None
        if has_limit != (attrs["order_type"] == OrderType.LIMIT):
            has = "has no" if has_limit else "needs its"
            raise serializers.ValidationError({"limit_price": f"A {attrs['order_type']} order {has} limit price."})
        return attrs


_SYMBOL = re.compile(r"[A-Z0-9:&_.\-]{1,60}")
_PRICE = re.compile(r"[0-9]{1,8}(?:\.[0-9]{1,4})?")
_NEEDED = ("symbol", "side", "quantity", "order_type")
_NAMES = frozenset(OrderTicketSerializer().fields)
_SIDES, _TYPES, _PRODUCTS = frozenset(Side), frozenset({OrderType.LIMIT, OrderType.MARKET}), frozenset(Product)


def usual_ticket(body: dict[str, Any]) -> dict[str, Any] | None:
    """What OrderTicketSerializer makes of a body in the usual form, without asking each of its fields; None for every
    other body: those are for the serializer to read, or to refuse."""
    if not body.keys() <= _NAMES or not all(name in body for name in _NEEDED):
        return None
    symbol, quantity, portfolio = body["symbol"], body["quantity"], body.get("portfolio", 1)
    words = body["side"], body["order_type"], body.get("product", Product.INTRADAY.value)
    if not all(isinstance(word, str) for word in (symbol, *words)) or type(quantity) is not int:
        return None
    if words[0] not in _SIDES or words[1] not in _TYPES or words[2] not in _PRODUCTS or not _SYMBOL.fullmatch(symbol):
        return None
    if not 1 <= quantity <= MAX_UNITS or type(portfolio) is not int or not 1 <= portfolio <= MAX_NUMBER:
        return None
    ticket = {**body, "product": words[2]}
    for name in ("limit_price", "stop_price", "target_price"):
        text = body.get(name)
        if text is None:
            continue
        if not isinstance(text, str) or not _PRICE.fullmatch(text):
            return None
        price = ticket[name] = Decimal(text).quantize(_FOUR_PLACES)
        if not 0 < price <= MAX_PRICE:
            return None
    if (ticket.get("limit_price") is not None) != (words[1] == OrderType.LIMIT):
        return None
    return ticket


class IntentSerializer(serializers.ModelSerializer):
    """A wish that waits for a person's yes."""

    symbol = serializers.CharField(source="instrument.symbol", read_only=True)
    decide_by = InstantField(allow_null=True)

    class Meta:
        model = Intent
        fields = ("id", "state", "symbol", "side", "wanted_quantity", "allowed_quantity", "decide_by")
        read_only_fields = fields


class CancelSerializer(serializers.Serializer):
    """`asked`: this call asked for it. False when it was asked before or the order had ended."""

    asked = serializers.BooleanField()
    order = OrderSerializer()


class GroupSerializer(serializers.ModelSerializer):
    symbol = serializers.CharField(source="instrument.symbol", read_only=True)

    class Meta:
        model = Group
        fields = ("id", "symbol", "side", "product", "state", "close_reason")
        read_only_fields = fields


class CloseSerializer(serializers.Serializer):
    """`asked`: this call asked for it. False when the position was closing or closed already."""

    asked = serializers.BooleanField()
    group = GroupSerializer()


class PositionSerializer(serializers.Serializer):
    """A position at the last price. Profit and loss is unrealised and before charges."""

    id = serializers.IntegerField()
    portfolio = serializers.IntegerField(source="portfolio_id")
    group = serializers.UUIDField(allow_null=True, help_text="what to name when closing it; empty when flat")
    symbol = serializers.CharField(source="instrument.symbol")
    product = serializers.ChoiceField(choices=[product.value for product in Product])
    net_quantity = serializers.IntegerField(help_text="units, signed")
    average_price = RateField(allow_null=True)
    last_price = RateField(allow_null=True)
    quote_age_s = serializers.FloatField(allow_null=True, help_text="wall seconds")
    pnl = RupeesField(source="pnl_paise", allow_null=True)
    pnl_pct = serializers.DecimalField(max_digits=12, decimal_places=2, allow_null=True)
    realised = RupeesField(source="realised_paise")
    charges = RupeesField(source="charges_paise")
    opened_at = InstantField(allow_null=True)


class SignalSerializer(serializers.ModelSerializer):
    portfolio = serializers.IntegerField(source="portfolio_id", read_only=True)
    contract = serializers.CharField(source="author", read_only=True, help_text="of a hook: its name and the alert's")
    symbol = serializers.CharField(source="instrument.symbol", read_only=True)
    entry = RateField()
    stop = RateField(allow_null=True)
    target = RateField(allow_null=True)
    features = serializers.DictField(read_only=True, help_text="numbers of a contract, or what an alert said")
    bar_at = InstantField()
    created_at = InstantField()
    verdicts = VerdictSerializer(many=True, read_only=True)

    class Meta:
        model = Signal
        fields = (
            "id", "portfolio", "source", "kind", "contract", "symbol", "side", "quantity", "entry", "stop", "target",
            "score", "features",
            "explanation", "state", "refusal_code", "refusal", "bar_at", "created_at", "verdicts",
        )  # fmt: skip
        read_only_fields = fields


class PreflightGateSerializer(serializers.Serializer):
    name = serializers.CharField()
    ok = serializers.BooleanField()
    cause = serializers.CharField()
    blocks = serializers.BooleanField(help_text="the engine does not run without it")


class DashboardSerializer(serializers.Serializer):
    """One portfolio at a glance. Money net of charges."""

    portfolio = serializers.IntegerField()
    name = serializers.CharField()
    environment = serializers.CharField()
    venue_time = InstantField()
    equity = RupeesField()
    cash = RupeesField()
    unrealised = RupeesField()
    day_pnl = RupeesField()
    day_pnl_pct = serializers.DecimalField(max_digits=12, decimal_places=2)
    exposure = RupeesField()
    stale = serializers.BooleanField(help_text="some open position has no fresh price")
    open_positions = serializers.IntegerField()
    live_orders = serializers.IntegerField()
    unknown_orders = serializers.IntegerField()
    approvals_waiting = serializers.IntegerField()
    broker_state = serializers.CharField()
    engine_state = serializers.CharField()
    preflight = PreflightGateSerializer(many=True, help_text="what the engine needs, as it last said")
    kill_level = serializers.CharField(help_text="the strictest of the kill switches over this portfolio")
