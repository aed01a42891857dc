from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from trading.api.serializers import InstantField, RupeesField, StrictSerializer
from trading.portfolio.models import Portfolio, Watchlist
from trading.portfolio.watchlists import ITEMS, NAME_LENGTH


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


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "A watchlist",
            {
                "id": 3,
                "name": "Banks",
                "symbols": ["NSE:SBIN-EQ", "NSE:HDFCBANK-EQ"],
                "created_at": "2026-02-16T03:30:00Z",
            },
            response_only=True,
        )
    ]
)
class WatchlistSerializer(serializers.ModelSerializer):
    symbols = serializers.SerializerMethodField()
    created_at = InstantField()

    class Meta:
        model = Watchlist
        fields = ("id", "name", "symbols", "created_at")
        read_only_fields = fields

    def get_symbols(self, watchlist: Watchlist) -> list[str]:
        return [item.instrument.symbol for item in watchlist.items.all()]


class WatchlistNameSerializer(StrictSerializer):
    name = serializers.CharField(max_length=NAME_LENGTH)


class WatchlistSymbolSerializer(StrictSerializer):
    symbol = serializers.CharField(max_length=60)


class WatchlistOrderSerializer(StrictSerializer):
    """Every symbol of the list, once, in its new order."""

    symbols = serializers.ListField(child=serializers.CharField(max_length=60), max_length=ITEMS)


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "The charges of a day",
            {"day": "2026-02-16", "reference": "CN/2026/0216/17", "lines": {"brokerage": "40.00", "stt": "25.00"}},
            request_only=True,
        )
    ]
)
class ContractNoteSerializer(StrictSerializer):
    """A contract note's charges. A line that is left out is nothing; the reference makes a correction happen once."""

    day = serializers.DateField(help_text="exchange day of the trades")
    reference = serializers.CharField(max_length=60, help_text="the number on the note")
    lines = serializers.DictField(
        child=serializers.CharField(max_length=20),
        help_text="rupees as text: brokerage, stt, exchange, sebi, stamp, gst, ipft, dp",
    )


class BookedChargesSerializer(serializers.Serializer):
    """What the ledger has of a day's charges, corrections included."""

    day = serializers.DateField()
    lines = serializers.DictField(child=RupeesField(), help_text="rupees by line")
    total = RupeesField()
    corrected = serializers.BooleanField(help_text="this call posted a correction")
