from django.db import models

from accounts.ownership import Owned


class Verdict(Owned):
    """What one gate said about one intent, with the numbers it saw. Never edited."""

    OWNER = "portfolio__owner"

    class Outcome(models.TextChoices):
        PASS = "PASS"  # noqa: S105 - a verdict
        SHRINK = "SHRINK"
        REJECT = "REJECT"

    # Forty rows an order: each is written with its assessment, whose portfolio the database looks for once.
    portfolio = models.ForeignKey(
        "portfolio.Portfolio", on_delete=models.PROTECT, related_name="verdicts", db_constraint=False
    )
    intent_id = models.UUIDField()
    position = models.PositiveSmallIntegerField(help_text="place in the order of the gates")
    gate = models.CharField(max_length=32)
    outcome = models.CharField(max_length=8, choices=Outcome)
    quantity = models.PositiveBigIntegerField(help_text="units allowed after this gate")
    value = models.CharField(max_length=60, blank=True, help_text="what the gate measured")
    limit = models.CharField(max_length=60, blank=True, help_text="what it may be")
    message = models.CharField(max_length=240)
    policy = models.CharField(max_length=80, help_text="policy and version that set the limit")
    at = models.DateTimeField(help_text="venue time")

    class Meta:
        ordering = ["intent_id", "position"]
        constraints = [models.UniqueConstraint(fields=["intent_id", "position"], name="verdict_once")]

    def __str__(self) -> str:
        return f"{self.gate} {self.outcome}"


class Assessment(Owned):
    """All that the gates saw of one intent, as numbers: it can be judged again under other limits. Never edited."""

    OWNER = "portfolio__owner"

    portfolio = models.ForeignKey("portfolio.Portfolio", on_delete=models.PROTECT, related_name="assessments")
    intent_id = models.UUIDField(unique=True)
    policy_id = models.BigIntegerField(help_text="version of the limits that decided")
    intent = models.JSONField(help_text="the wish as the gates saw it")
    snapshot = models.JSONField(help_text="everything else they saw")
    allowed_quantity = models.PositiveBigIntegerField(help_text="0: refused")
    refused_by = models.CharField(max_length=32, blank=True, help_text="code of the gate that refused")
    at = models.DateTimeField(help_text="venue time")
    stored_at = models.DateTimeField(help_text="wall time")

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["portfolio", "-stored_at"], name="assessment_newest")]

    def __str__(self) -> str:
        return f"{self.intent_id} {self.refused_by or self.allowed_quantity}"
