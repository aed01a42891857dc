from django.db import models

from accounts.ownership import Owned


class TradingState(Owned):
    """The kill switch of one scope. Every claim of an order reads it; a higher epoch voids what was queued before."""

    OWNER = "portfolio__owner"

    class Level(models.IntegerChoices):
        ACTIVE = 0
        NO_ENTRIES = 1
        CANCEL_ENTRIES = 2
        CANCEL_ALL = 3
        FLATTEN = 4
        LOCKDOWN = 5

    scope = models.CharField(max_length=40, unique=True, help_text="GLOBAL, or PORTFOLIO:<id>")
    portfolio = models.ForeignKey(
        "portfolio.Portfolio", null=True, blank=True, on_delete=models.CASCADE, related_name="trading_states"
    )
    level = models.PositiveSmallIntegerField(choices=Level, default=Level.ACTIVE)
    epoch = models.PositiveBigIntegerField(default=0)
    reason = models.CharField(max_length=200, blank=True)
    set_by = models.CharField(max_length=150, blank=True)
    set_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.scope} {self.get_level_display()}"


class LossLock(Owned):
    """A day on which a portfolio lost as much as it may. Holds until the next session."""

    OWNER = "portfolio__owner"

    class Kind(models.TextChoices):
        SOFT = "SOFT"
        HARD = "HARD"

    portfolio = models.ForeignKey("portfolio.Portfolio", on_delete=models.CASCADE, related_name="loss_locks")
    session_date = models.DateField()
    kind = models.CharField(max_length=4, choices=Kind)
    day_pnl_paise = models.BigIntegerField()
    locked_at = models.DateTimeField(help_text="venue time")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["portfolio", "session_date", "kind"], name="loss_locked_once")]

    def __str__(self) -> str:
        return f"{self.portfolio} {self.session_date} {self.kind}"
