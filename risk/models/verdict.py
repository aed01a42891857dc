from django.db import models

from accounts.ownership import Owned


class Verdict(Owned):
    """What one gate said about one intent, with the numbers it saw. Never edited."""

    OWNER = "portfolio__owner"

    class Outcome(models.TextChoices):
        PASS = "PASS"  # noqa: S105 - a verdict
        SHRINK = "SHRINK"
        REJECT = "REJECT"

    portfolio = models.ForeignKey("portfolio.Portfolio", on_delete=models.PROTECT, related_name="verdicts")
    intent_id = models.UUIDField(db_index=True)
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
