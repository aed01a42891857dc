from decimal import Decimal

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from accounts.ownership import OwnedQuerySet


class Stage(models.TextChoices):
    """How far a version has come on the way from an idea to money."""

    RESEARCH = "RESEARCH"
    PAPER = "PAPER"
    LIVE = "LIVE"
    PAUSED = "PAUSED"
    RETIRED = "RETIRED"


class OfVersionQuerySet(OwnedQuerySet):
    def for_user(self, user) -> "OfVersionQuerySet":
        """Those of the user's contracts and of the house's."""
        return self.filter(Q(version__contract__owner=user.pk) | Q(version__contract__owner=None))


class Standing(models.Model):
    """Where a version stands now, and whether its owner asks for more. Its moves say how it came there."""

    OWNER = "version__contract__owner"

    version = models.OneToOneField("strategies.ContractVersion", on_delete=models.PROTECT, related_name="standing")
    stage = models.CharField(max_length=8, choices=Stage, default=Stage.RESEARCH)
    before_pause = models.CharField(max_length=8, blank=True, help_text="the stage that a resume leads back to")
    changed_at = models.DateTimeField(help_text="wall time")
    asked_by = models.CharField(max_length=150, blank=True, help_text="who waits for an answer about LIVE")
    asked_at = models.DateTimeField(null=True, help_text="wall time")
    asked_reason = models.CharField(max_length=500, blank=True)

    objects = OfVersionQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["asked_at"], condition=~Q(asked_by=""), name="stage_asked")]

    def __str__(self) -> str:
        return f"{self.version} {self.stage}"


class StageMove(models.Model):
    """One step of a version, with who, why and the figures it was judged by. Written once: the database refuses more.

    `waived`: staff moved it although a figure was missing or did not pass.
    """

    OWNER = "version__contract__owner"

    version = models.ForeignKey("strategies.ContractVersion", on_delete=models.PROTECT, related_name="moves")
    from_stage = models.CharField(max_length=8, choices=Stage)
    to_stage = models.CharField(max_length=8, choices=Stage)
    actor = models.CharField(max_length=150)
    reason = models.CharField(max_length=500)
    figures = models.JSONField(default=list, help_text="name, wanted, got and passed of each gate")
    policy = models.CharField(max_length=60, blank=True)
    waived = models.BooleanField(default=False)
    at = models.DateTimeField(help_text="wall time")

    objects = OfVersionQuerySet.as_manager()

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [models.Index(fields=["version", "-at"], name="stage_moves")]

    def __str__(self) -> str:
        return f"{self.version} {self.from_stage} → {self.to_stage}"


def _pct(default: str, most: int, help_text: str) -> models.DecimalField:
    return models.DecimalField(
        max_digits=7, decimal_places=3, default=Decimal(default), help_text=help_text,
        validators=[MinValueValidator(0), MaxValueValidator(most)],
    )  # fmt: skip


class LifecyclePolicy(models.Model):
    """What a contract must have shown before it goes on. The house's; a change is a new version."""

    version = models.PositiveIntegerField(unique=True)
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=150)

    paper_max_drawdown_pct = _pct("15", 100, "largest drawdown of the out-of-sample backtest, exclusive")
    paper_min_sharpe = _pct("1", 10, "Sharpe ratio of the out-of-sample backtest, exclusive")
    paper_min_win_rate_pct = _pct("45", 100, "share of winning trades of the backtest, exclusive")
    paper_min_trades = models.PositiveIntegerField(default=30, help_text="trades of the backtest")
    live_min_days = models.PositiveIntegerField(default=90, help_text="days on paper, or else trades")
    live_min_trades = models.PositiveIntegerField(default=100, help_text="trades on paper, or else days")
    live_drawdown_of_backtest_pct = _pct("120", 1000, "drawdown on paper, percent of the backtest's")
    live_max_losing_days = models.PositiveIntegerField(default=5, help_text="losing days in a row on paper")

    class Meta:
        verbose_name_plural = "lifecycle policies"
        constraints = [
            models.UniqueConstraint(fields=["active"], condition=Q(active=True), name="lifecycle_policy_active_once")
        ]

    def __str__(self) -> str:
        return f"Lifecycle v{self.version}"
