from decimal import Decimal
from math import isfinite

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from accounts.ownership import Owned


def percent(default: str, help_text: str, most: int = 100) -> models.DecimalField:
    return models.DecimalField(
        max_digits=6, decimal_places=3, default=default, help_text=help_text,
        validators=[MinValueValidator(0), MaxValueValidator(most)],
    )  # fmt: skip


def ratio(default: str, help_text: str) -> models.DecimalField:
    return models.DecimalField(
        max_digits=6, decimal_places=4, default=default, help_text=help_text,
        validators=[MinValueValidator(0), MaxValueValidator(1)],
    )  # fmt: skip


def seconds(default: float, help_text: str) -> models.FloatField:
    return models.FloatField(
        default=default, help_text=help_text, validators=[MinValueValidator(0), MaxValueValidator(86_400)]
    )


def whole(default: int, help_text: str, most: int = 1_000_000) -> models.PositiveIntegerField:
    return models.PositiveIntegerField(default=default, help_text=help_text, validators=[MaxValueValidator(most)])


def _are_symbols(value: object) -> bool:
    named = isinstance(value, list) and all(isinstance(one, str) and 0 < len(one) <= 60 for one in value)
    return named and len(value) <= 500  # type: ignore[arg-type]


class RiskPolicy(Owned):
    """The limits of one portfolio, or of the house where the portfolio is empty. A change is a new version."""

    OWNER = "portfolio__owner"

    portfolio = models.ForeignKey(
        "portfolio.Portfolio", null=True, blank=True, on_delete=models.PROTECT, related_name="risk_policies"
    )
    version = models.PositiveIntegerField()
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=150)

    # -- one trade
    stop_required = models.BooleanField(default=True, help_text="an entry without a stop is refused")
    risk_per_trade_pct = percent("1", "loss at the stop, share of equity: trend and all else")
    risk_mean_reversion_pct = percent("0.75", "the same for mean reversion")
    risk_cap_pct = percent("2", "no trade and no position may lose more than this share of equity at its stop")
    position_size_pct = percent("20", "notional of one instrument, share of equity")
    option_position_pct = percent("5", "premium of one option, share of equity")
    max_order_value_rupees = models.DecimalField(
        max_digits=14, decimal_places=2, default="1000000", validators=[MinValueValidator(1)]
    )
    max_order_quantity = whole(100_000, "units of one order", 10_000_000)
    # -- all of them
    max_open_positions = whole(5, "positions at once", 10_000)
    max_strategy_positions = whole(5, "positions at once of one strategy", 10_000)
    total_exposure_pct = percent("70", "gross notional of all positions, share of equity", 999)
    hard_exposure_pct = percent("80", "above this share of equity nothing is opened, whatever else is said", 999)
    options_exposure_pct = percent("50", "premiums of all options, share of equity")
    cash_reserve_pct = percent("10", "share of equity that is never put to work")
    sector_exposure_pct = percent("30", "gross notional of one sector, share of equity")
    correlation_halve = ratio("0.7", "above it, with any open position, the size is halved")
    correlation_reject = ratio("0.9", "above it nothing is opened")
    # -- one day
    max_trades_per_day = whole(20, "entries of one session", 100_000)
    day_value_pct = percent("500", "everything opened in one session, share of equity", 999)
    cooldown_min = whole(30, "venue minutes without entries after a stop-out", 10_000)
    loss_streak = whole(4, "losses in a row after which entries rest; 0 never", 1_000)
    loss_streak_pause_min = whole(60, "venue minutes for which they rest", 10_000)
    daily_loss_soft_pct = percent("5", "no new positions until the next session")
    daily_loss_hard_pct = percent("10", "everything that opens is refused until it is released")
    loss_warn_share_pct = percent("50", "share of the soft limit at which a warning is given")
    half_size_share_pct = percent("75", "share of the soft limit from which sizes are halved")
    flatten_share_pct = percent(
        "125", "share of the soft limit from which everything is closed, if the next says so", 500
    )
    flatten_on_soft = models.BooleanField(default=False, help_text="close everything past that share")
    flatten_on_hard = models.BooleanField(default=True, help_text="close everything at the hard limit")
    locks_need_release = models.BooleanField(
        default=True, help_text="a soft or hard lock holds until a person releases it, the next session at the earliest"
    )
    # -- from the highest equity
    drawdown_cautious_pct = percent("10", "drawdown from which the size shrinks")
    drawdown_defensive_pct = percent("15", "drawdown from which stops are tightened too")
    drawdown_halt_pct = percent("20", "drawdown at which everything is closed until a person has reviewed it")
    drawdown_hysteresis_pct = percent("2", "how far a drawdown must shrink below its step before the step is left")
    drawdown_size_pct = percent("50", "share of the usual size while cautious or defensive")
    defensive_stop_pct = percent("80", "share of the usual distance of a stop while defensive")
    # -- prices and market
    price_collar_pct = percent("3", "distance of a price from the last traded price")
    option_collar_pct = percent("10", "the same for options, five rupees at least")
    max_quote_age_s = seconds(5, "wall seconds")
    max_signal_age_s = seconds(120, "wall seconds")
    duplicate_window_s = seconds(120, "wall seconds in which the same idea of a contract counts once")
    spread_to_deviation = ratio("0.05", "spread by the deviation of 20 closes; half of it in thin hours")
    min_volume_ratio = ratio("0.5", "volume of the last bar by the mean of its 20")
    opening_gap_pct = percent("2", "distance of the open from the last close")
    margin_cushion_pct = percent("5", "what must be free beside the margin itself")
    restricted_symbols = models.JSONField(
        default=list, blank=True, help_text="symbols or tickers that may not be opened"
    )
    entry_after_open_min = whole(5, "minutes of the session without entries", 400)
    entry_before_close_min = whole(30, "minutes before its end without entries", 400)
    square_off_before_close_min = whole(15, "minutes before its end when intraday positions are closed", 400)
    # -- what stops itself
    runaway_orders_per_intent = whole(12, "orders of one trade above which the kill switch is pulled", 1_000)
    runaway_orders_per_fill = whole(30, "orders for each fill in the last minutes, of 30 at least", 10_000)
    runaway_rejections = whole(8, "refusals by the broker in a row", 1_000)
    runaway_loss_pct = percent("2", "share of equity lost within the minutes below")
    runaway_loss_min = whole(5, "venue minutes", 400)
    failsafe_rejections = whole(3, "refusals in a row that pause a strategy; 0 never", 1_000)
    failsafe_trades = whole(20, "trades over which a strategy must not lose; 0 never", 10_000)
    failsafe_drawdown_pct = percent(
        "150", "live drawdown by that of the backtest from which a strategy is retired", 999
    )
    failsafe_losing_days = whole(10, "losing days in a row that retire a strategy; 0 never", 1_000)

    class Meta:
        verbose_name_plural = "risk policies"
        constraints = [
            models.UniqueConstraint(fields=["portfolio", "version"], name="policy_version_once", nulls_distinct=False),
            models.UniqueConstraint(
                fields=["portfolio"], condition=Q(active=True), name="policy_active_once", nulls_distinct=False
            ),
        ]

    def __str__(self) -> str:
        return f"{self.portfolio or 'House'} v{self.version}"

    def clean(self) -> None:
        """Limits that contradict each other are no limits."""
        pairs = [
            ("risk_per_trade_pct", "risk_cap_pct"), ("risk_mean_reversion_pct", "risk_cap_pct"),
            ("total_exposure_pct", "hard_exposure_pct"), ("options_exposure_pct", "hard_exposure_pct"),
            ("correlation_halve", "correlation_reject"), ("daily_loss_soft_pct", "daily_loss_hard_pct"),
            ("loss_warn_share_pct", "half_size_share_pct"), ("drawdown_cautious_pct", "drawdown_defensive_pct"),
            ("drawdown_defensive_pct", "drawdown_halt_pct"),
            ("square_off_before_close_min", "entry_before_close_min"),
        ]  # fmt: skip
        wrong = {}
        for smaller, larger in pairs:
            low, high = getattr(self, smaller), getattr(self, larger)
            if low is not None and high is not None and Decimal(str(low)) > Decimal(str(high)):
                wrong[smaller] = f"It may not be above {larger} ({high})."
        for name in ("max_quote_age_s", "max_signal_age_s", "duplicate_window_s"):
            if not isfinite(getattr(self, name) or 0):  # neither below nor above a bound: nothing would ever be too old
                wrong[name] = "Enter a number."
        if _are_symbols(self.restricted_symbols):
            self.restricted_symbols = [one.strip().upper() for one in self.restricted_symbols]
        else:
            wrong["restricted_symbols"] = "A list of at most 500 symbols or tickers."
        if wrong:
            raise ValidationError(wrong)
