from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from trading.api.serializers import InstantField, RupeesField
from trading.portfolio.models import Portfolio


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "A paper portfolio",
            {
                "id": 1,
                "name": "Paper",
                "account": "Sandbox",
                "environment": "SANDBOX",
                "opening_cash": "1000000.00",
                "approval_mode": "AUTOMATIC",
                "created_at": "2026-02-16T03:30:00Z",
            },
            response_only=True,
        )
    ]
)
class PortfolioSerializer(serializers.ModelSerializer):
    account = serializers.CharField(source="account.name", read_only=True)
    environment = serializers.CharField(source="account.environment", read_only=True)
    opening_cash = RupeesField(source="opening_cash_paise")
    created_at = InstantField()

    class Meta:
        model = Portfolio
        fields = ("id", "name", "account", "environment", "opening_cash", "approval_mode", "created_at")
        read_only_fields = fields
