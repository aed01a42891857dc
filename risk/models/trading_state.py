from django.conf import settings
from django.db import models

from accounts.ownership import Owned


class TradingState(Owned):
    """The kill switch of one scope. Every claim of an order reads it; a higher epoch voids what was queued before."""

    OWNER = "owner"

    class Level(models.IntegerChoices):
        ACTIVE = 0
        NO_ENTRIES = 1
        CANCEL_ENTRIES = 2
        CANCEL_ALL = 3
        FLATTEN = 4
        LOCKDOWN = 5

    scope = models.CharField(max_length=40, unique=True, help_text="GLOBAL, or kind and id: PORTFOLIO:7")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE, related_name="trading_states",
        help_text="of whose orders; empty: everybody's",
    )  # fmt: skip
    portfolio = models.ForeignKey(
        "portfolio.Portfolio", null=True, blank=True, on_delete=models.CASCADE, related_name="trading_states"
    )
    label = models.CharField(max_length=120, blank=True, help_text="what it is for, in words")
    level = models.PositiveSmallIntegerField(choices=Level, default=Level.ACTIVE)
    epoch = models.PositiveBigIntegerField(default=0)
    reason = models.CharField(max_length=200, blank=True)
    set_by = models.CharField(max_length=150, blank=True)
    set_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.scope} {self.get_level_display()}"

    @property
    def what(self) -> str:
        """What it stops, in words."""
        return self.label or ("the whole desk" if self.scope == "GLOBAL" else self.scope.lower())


class LossLock(Owned):
    """What a day's loss has called for. Holds for its session; a soft or hard one until a person releases it as well,
    the next session at the earliest."""

    OWNER = "portfolio__owner"

    class Kind(models.TextChoices):
        WARN = "WARN"
        HALF = "HALF", "Half size"
        SOFT = "SOFT"
        FLATTEN = "FLATTEN"
        HARD = "HARD"

    LASTING = (Kind.SOFT, Kind.HARD)

    portfolio = models.ForeignKey("portfolio.Portfolio", on_delete=models.CASCADE, related_name="loss_locks")
    session_date = models.DateField()
    kind = models.CharField(max_length=8, choices=Kind)
    day_pnl_paise = models.BigIntegerField()
    locked_at = models.DateTimeField(help_text="venue time")
    released_at = models.DateTimeField(null=True, help_text="wall time")
    released_by = models.CharField(max_length=150, blank=True)
    release_reason = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["portfolio", "session_date", "kind"], name="loss_locked_once")]

    def __str__(self) -> str:
        return f"{self.portfolio} {self.session_date} {self.kind}"
