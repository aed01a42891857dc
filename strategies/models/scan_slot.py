from django.db import models

from accounts.ownership import Owned


class ScanSlot(Owned):
    """One bar close of one deployment: taken by one scanner, done once, and never silently skipped."""

    OWNER = "deployment__portfolio__owner"

    class State(models.TextChoices):
        CLAIMED = "CLAIMED"
        DONE = "DONE"
        MISSED = "MISSED"

    deployment = models.ForeignKey("strategies.Deployment", on_delete=models.CASCADE, related_name="scans")
    bar_at = models.DateTimeField(help_text="close of the bar, venue time")
    state = models.CharField(max_length=8, choices=State, default=State.CLAIMED)
    claimed_at = models.DateTimeField(help_text="wall time; a claim that grew old may be taken over")
    duration_ms = models.FloatField(null=True)
    instruments = models.PositiveIntegerField(default=0)
    signals = models.PositiveIntegerField(default=0)
    note = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["-bar_at"]
        constraints = [models.UniqueConstraint(fields=["deployment", "bar_at"], name="bar_scanned_once")]

    def __str__(self) -> str:
        return f"{self.deployment} {self.bar_at:%H:%M} {self.state}"
