"""Runs on the wire."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers

from strategies.backtest.request import MOST_SYMBOLS
from strategies.backtest.request_fields import FIELDS, Kind, RequestField
from strategies.models import BacktestRun
from trading.api.serializers import InstantField, StrictSerializer


def _field_of(one: RequestField) -> serializers.Field:
    """A field of a request as it comes by JSON. Numbers are text, so that no float comes between."""
    said = one.meaning + (f"; {one.usual}" if one.usual else "")
    how: dict[str, Any] = {"required": one.required, "help_text": said}
    if one.kind is Kind.DAY:
        return serializers.DateField(**how)
    if one.kind is Kind.WHOLE:
        return serializers.IntegerField(allow_null=True, **how)
    child = serializers.CharField(max_length=one.longest)
    if one.kind is Kind.NAMES:
        return serializers.ListField(child=child, max_length=MOST_SYMBOLS, **how)
    if one.kind is Kind.BY_NAME:
        return serializers.DictField(child=child, **how)
    return serializers.CharField(max_length=one.longest, allow_null=not (one.required or one.usual), **how)


class RequestSerializer(StrictSerializer):
    """A contract, its market and the money. What is left out takes its default."""

    def get_fields(self) -> dict[str, Any]:
        return {one.name: _field_of(one) for one in FIELDS}


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
