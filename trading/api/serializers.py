"""Fields that take nothing on trust, and money as everybody reads it: decimal strings in rupees."""

from datetime import UTC
from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

from trading.domain.money import PAISE, to_rupees

MAX_UNITS = 10_000_000
MAX_PRICE = Decimal("10000000")


class StrictSerializer(serializers.Serializer):
    """Refuses members it does not know: a misspelt `stop_price` must not become an order without a stop."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and (unknown := sorted(set(data) - set(self.fields))):
            no_such = ErrorDetail("There is no such field.", code="unknown_field")
            raise serializers.ValidationError({name[:60]: no_such for name in unknown})
        return super().to_internal_value(data)


class UnitsField(serializers.IntegerField):
    """Units, never lots: a whole JSON number, neither text nor a fraction."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=1, max_value=MAX_UNITS, **kwargs)

    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return data


class PriceField(serializers.DecimalField):
    """Rupees a unit as a decimal string: JSON numbers are binary fractions and would not keep 812.35."""

    default_error_messages = {"not_text": 'Send a price as text, such as "812.35".'}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_digits=14, decimal_places=4, min_value=Decimal("0.0001"), max_value=MAX_PRICE, **kwargs)

    def to_internal_value(self, data: Any) -> Decimal:
        if not isinstance(data, str):
            self.fail("not_text")
        return super().to_internal_value(data)


@extend_schema_field({"type": "string", "format": "decimal", "example": "8121.50"})
class RupeesField(serializers.Field):
    """Whole paise in the database, rupees with two decimals on the wire."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs["read_only"] = True
        super().__init__(**kwargs)

    def to_representation(self, value: int) -> str:
        return str(to_rupees(value))


@extend_schema_field({"type": "string", "format": "decimal", "example": "812.35"})
class RateField(serializers.Field):
    """Rupees a unit: two decimals, or as many as its tick needs."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs["read_only"] = True
        super().__init__(**kwargs)

    def to_representation(self, value: Decimal) -> str:
        paise = value.quantize(PAISE)
        return str(paise if paise == value else value.normalize())


@extend_schema_field({"type": "string", "format": "date-time", "example": "2026-02-16T04:15:00.000000Z"})
class InstantField(serializers.DateTimeField):
    """ISO 8601 in UTC."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(read_only=True, default_timezone=UTC, **kwargs)


class FieldErrorSerializer(serializers.Serializer):
    field = serializers.CharField()
    code = serializers.CharField()
    message = serializers.CharField()


class ProblemSerializer(serializers.Serializer):
    """Problem details, RFC 9457."""

    type = serializers.CharField(default="about:blank")
    title = serializers.CharField()
    status = serializers.IntegerField()
    code = serializers.CharField(help_text="stable; programs may depend on it")
    detail = serializers.CharField()
    errors = FieldErrorSerializer(many=True, required=False)  # type: ignore[assignment]
    numbers = serializers.DictField(required=False)
    intent = serializers.UUIDField(required=False, help_text="the refused intent, whose verdicts can be read")
