"""Runs on the wire."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers

from strategies.backtest.request import BacktestRequest
from strategies.models import BacktestRun
from trading.api.serializers import InstantField, StrictSerializer

USUAL = BacktestRequest.__dataclass_fields__


class RequestSerializer(StrictSerializer):
    """A contract, its market and the money. What is left out takes its default."""

    contract = serializers.CharField(max_length=80, help_text="slug, or slug@version: one of yours, or of the house")
    symbols = serializers.ListField(
        child=serializers.CharField(max_length=60), required=False, max_length=5000,
        help_text="NSE:SBIN-EQ or SBIN; none: every share of the contract's universes",
    )  # fmt: skip
    feed = serializers.CharField(max_length=40, required=False, help_text="whose candles; NSE")
    timeframe = serializers.CharField(max_length=4, required=False, allow_null=True)
    cash = serializers.CharField(max_length=30, required=False, help_text="rupees as text; 1000000")
    leverage = serializers.CharField(max_length=10, required=False)
    slots = serializers.IntegerField(required=False, allow_null=True, help_text="positions at once")
    sizing = serializers.CharField(
        max_length=30, required=False, allow_null=True, help_text="all_in, fixed:UNITS, percent:N, risk:N"
    )
    charges = serializers.CharField(max_length=10, required=False, help_text="fyers, zerodha or none")
    slippage_bps = serializers.CharField(max_length=10, required=False)
    rank = serializers.CharField(max_length=2000, required=False, allow_null=True)
    parameters = serializers.DictField(child=serializers.CharField(max_length=30), required=False)

    def get_fields(self) -> dict[str, Any]:
        """`from` is a word of Python, so the two days are named here."""
        return {
            **super().get_fields(),
            "from": serializers.DateField(help_text="first exchange day"),
            "to": serializers.DateField(help_text="last exchange day, included"),
        }


class RunCreateSerializer(StrictSerializer):
    kind = serializers.ChoiceField(choices=BacktestRun.Kind.choices, default=BacktestRun.Kind.BACKTEST)
    request = RequestSerializer(required=False, help_text="not for studies of runs that are done")
    study = serializers.DictField(required=False, help_text="what the kind needs beyond the request: docs/research.md")


class RunSerializer(serializers.ModelSerializer):
    """A run and how far it is. `figures` are those of a finished one."""

    contract = serializers.SerializerMethodField()
    done = serializers.IntegerField(read_only=True)
    rate = serializers.SerializerMethodField(help_text="units a second")
    remaining_s = serializers.SerializerMethodField()
    figures = serializers.SerializerMethodField()
    data_hash = serializers.SerializerMethodField()
    run_hash = serializers.SerializerMethodField()
    code_version = serializers.SerializerMethodField()
    created_at = InstantField()
    started_at = InstantField()
    finished_at = InstantField()

    class Meta:
        model = BacktestRun
        fields = (
            "id", "kind", "title", "contract", "state", "units", "done", "rate", "remaining_s", "request", "study",
            "figures", "data_hash", "run_hash", "code_version", "error_code", "error", "created_at", "started_at",
            "finished_at",
        )  # fmt: skip
        read_only_fields = fields

    def get_contract(self, run: BacktestRun) -> str | None:
        return run.request.get("contract")

    def get_rate(self, run: BacktestRun) -> float | None:
        rate = run.pace(timezone.now())[0]
        return None if rate is None else round(rate, 3)

    def get_remaining_s(self, run: BacktestRun) -> float | None:
        left = run.pace(timezone.now())[1]
        return None if left is None else round(left, 1)

    def get_figures(self, run: BacktestRun) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self._of(run, "figures")
        return found

    def get_data_hash(self, run: BacktestRun) -> str | None:
        return self._of(run, "data_hash") or None

    def get_run_hash(self, run: BacktestRun) -> str | None:
        return self._of(run, "run_hash")

    def get_code_version(self, run: BacktestRun) -> str | None:
        return self._of(run, "code_version")

    @staticmethod
    def _of(run: BacktestRun, name: str) -> Any:
        stored = getattr(run, "result", None)
        return getattr(stored, name, None)


class TradeSerializer(serializers.Serializer):
    """One trade: rupees, units, times in India."""

    symbol = serializers.CharField()
    side = serializers.CharField()
    quantity = serializers.IntegerField()
    entry_bar = serializers.IntegerField()
    entry_at = serializers.CharField()
    entry_price = serializers.FloatField()
    exit_bar = serializers.IntegerField()
    exit_at = serializers.CharField()
    exit_price = serializers.FloatField()
    reason = serializers.CharField()
    stop = serializers.FloatField(allow_null=True)
    target = serializers.FloatField(allow_null=True)
    charges = serializers.FloatField()
    pnl = serializers.FloatField(help_text="net of charges")
    return_pct = serializers.FloatField(help_text="before charges")
    best_price = serializers.FloatField()
    worst_price = serializers.FloatField()


class TradePageSerializer(serializers.Serializer):
    count = serializers.IntegerField()
    first = serializers.IntegerField()
    trades = TradeSerializer(many=True)
