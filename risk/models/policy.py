from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from accounts.ownership import Owned


def percent(default: str, help_text: str) -> models.DecimalField:
    return models.DecimalField(
        max_digits=6, decimal_places=3, default=default, help_text=help_text,
        validators=[MinValueValidator(0), MaxValueValidator(100)],
    )  # fmt: skip


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

    stop_required = models.BooleanField(default=True)
    risk_per_trade_pct = percent("1", "distance to the stop times quantity, share of equity")
    position_size_pct = percent("20", "notional of one instrument, share of equity")
    total_exposure_pct = percent("80", "gross notional of all positions, share of equity")
    max_open_positions = models.PositiveIntegerField(default=5)
    max_trades_per_day = models.PositiveIntegerField(default=20)
    daily_loss_soft_pct = percent("5", "no new positions until the next session")
    daily_loss_hard_pct = percent("10", "reject everything that opens, flatten")
    price_collar_pct = percent("3", "distance of a price from the last traded price")
    max_quote_age_s = models.FloatField(default=5, help_text="wall seconds")
    max_signal_age_s = models.FloatField(default=120, help_text="wall seconds")
    cooldown_min = models.PositiveIntegerField(default=30, help_text="venue minutes without entries after a stop-out")
    max_order_value_rupees = models.DecimalField(max_digits=14, decimal_places=2, default="1000000")
    entry_after_open_min = models.PositiveIntegerField(default=5)
    entry_before_close_min = models.PositiveIntegerField(default=30)
    square_off_before_close_min = models.PositiveIntegerField(default=15)

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
