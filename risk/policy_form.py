"""The limits as a form: what a person types becomes the values of a new version, in groups that belong together."""

from typing import Any

from django import forms

from risk.models import RiskPolicy

GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("One trade", (
        "stop_required", "risk_per_trade_pct", "risk_mean_reversion_pct", "risk_cap_pct", "position_size_pct",
        "option_position_pct", "max_order_value_rupees", "max_order_quantity",
    )),
    ("All of them", (
        "max_open_positions", "max_strategy_positions", "total_exposure_pct", "hard_exposure_pct",
        "options_exposure_pct", "cash_reserve_pct", "sector_exposure_pct", "correlation_halve", "correlation_reject",
        "margin_cushion_pct",
    )),
    ("One day", (
        "max_trades_per_day", "day_value_pct", "cooldown_min", "loss_streak", "loss_streak_pause_min",
        "daily_loss_soft_pct", "daily_loss_hard_pct", "loss_warn_share_pct", "half_size_share_pct",
        "flatten_share_pct", "flatten_on_soft", "flatten_on_hard", "locks_need_release",
    )),
    ("From the highest equity", (
        "drawdown_cautious_pct", "drawdown_defensive_pct", "drawdown_halt_pct", "drawdown_hysteresis_pct",
        "drawdown_size_pct", "defensive_stop_pct",
    )),
    ("Prices and market", (
        "price_collar_pct", "option_collar_pct", "max_quote_age_s", "max_signal_age_s", "duplicate_window_s",
        "spread_to_deviation", "min_volume_ratio", "opening_gap_pct", "restricted_symbols",
    )),
    ("Hours", ("entry_after_open_min", "entry_before_close_min", "square_off_before_close_min")),
    ("What stops itself", (
        "runaway_orders_per_intent", "runaway_orders_per_fill", "runaway_rejections", "runaway_loss_pct",
        "runaway_loss_min", "failsafe_rejections", "failsafe_trades", "failsafe_drawdown_pct", "failsafe_losing_days",
    )),
)  # fmt: skip


class PolicyForm(forms.ModelForm):
    """Ranges are the fields' own; what contradicts is found when the version is drafted."""

    restricted_symbols = forms.CharField(
        required=False, max_length=30_000, widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
        help_text="symbols or tickers that may not be opened, separated by commas or spaces",
    )  # fmt: skip

    class Meta:
        model = RiskPolicy
        fields = tuple(name for _, names in GROUPS for name in names)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        policy = kwargs.get("instance")
        if policy is not None:
            self.initial["restricted_symbols"] = ", ".join(policy.restricted_symbols)
        for name, bound in self.fields.items():
            bound.label = label_of(name)
            if isinstance(bound, forms.DecimalField | forms.FloatField):
                bound.widget = forms.NumberInput(attrs={"step": "any", "inputmode": "decimal"})
                value = self.initial.get(name)
                if value is not None:
                    self.initial[name] = f"{float(value):g}" if name != "max_order_value_rupees" else f"{value:.0f}"

    def clean_restricted_symbols(self) -> list[str]:
        return self.cleaned_data["restricted_symbols"].replace(",", " ").upper().split()

    def _post_clean(self) -> None:
        """The version is checked as a whole when it is drafted, not field by field on the old row."""

    def groups(self) -> list[tuple[str, list[forms.BoundField]]]:
        return [(title, [self[name] for name in names]) for title, names in GROUPS]


def label_of(name: str) -> str:
    """risk_per_trade_pct: Risk per trade, %."""
    for ending, unit in (
        ("_pct", ", %"),
        ("_min", ", minutes"),
        ("_max_age_h", " may be old, hours"),
        ("_rupees", ", ₹"),
        ("_age_s", " age, s"),
        ("_s", ", s"),
    ):
        if name.endswith(ending):
            name = name.removesuffix(ending) + unit
            break
    return name.replace("_", " ").capitalize()
