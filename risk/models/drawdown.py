from django.db import models

from accounts.ownership import Owned
from risk.drawdown import DrawdownStep


class DrawdownState(Owned):
    """Where a portfolio stands below its highest equity."""

    OWNER = "portfolio__owner"

    portfolio = models.OneToOneField("portfolio.Portfolio", on_delete=models.CASCADE, related_name="drawdown")
    step = models.CharField(max_length=10, choices=[(s.value, s.value) for s in DrawdownStep], default="NORMAL")
    peak_paise = models.BigIntegerField()
    peak_at = models.DateTimeField(help_text="venue time")
    equity_paise = models.BigIntegerField(help_text="when last looked at")
    drawdown_pct = models.DecimalField(max_digits=8, decimal_places=4, default=0)
    step_since = models.DateTimeField(help_text="venue time")

    def __str__(self) -> str:
        return f"{self.portfolio} {self.step}"


class DrawdownMove(Owned):
    """One step up or down, and why. Never edited."""

    OWNER = "portfolio__owner"

    portfolio = models.ForeignKey("portfolio.Portfolio", on_delete=models.PROTECT, related_name="drawdown_moves")
    from_step = models.CharField(max_length=10)
    to_step = models.CharField(max_length=10)
    drawdown_pct = models.DecimalField(max_digits=8, decimal_places=4)
    peak_paise = models.BigIntegerField()
    equity_paise = models.BigIntegerField()
    actor = models.CharField(max_length=150)
    reason = models.CharField(max_length=200, blank=True)
    at = models.DateTimeField(help_text="venue time")

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.portfolio} {self.from_step} → {self.to_step}"
